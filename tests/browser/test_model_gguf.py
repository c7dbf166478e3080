"""A model whose matrices are of many GGUF types, as the file has them, validated on tiers and prefills in browsers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.synthetic.gguf_llama import write_random_gguf
from mlcweb.compile import CompileRequest, compile_bundle
from tests.support.browser.few import few_error
from tests.support.browser.model_page import ModelPage, Site, open_model_page
from tests.support.browser.validation import check_validation
from tests.support.engine import needs_engine
from tests.support.mixed_gguf import MODEL, mixed

pytestmark = needs_engine

BUNDLE = "gguf-mixed"


@pytest.fixture(scope="module")
def bundle(site: Site, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name under which it is served."""
    source = write_random_gguf(tmp_path_factory.mktemp("gguf") / "mixed.gguf", MODEL.hf_config(), mixed)
    compile_bundle(
        CompileRequest(str(source), out_dir=site.folder / BUNDLE, context_length=64, prefill_chunk=64)
    )
    return BUNDLE


@pytest.fixture(scope="module")
def stock(chromium: Path, site: Site) -> Iterator[ModelPage]:
    with open_model_page(chromium, site) as opened:
        yield opened


@pytest.fixture(scope="module")
def f16(f16_chromium: Path, site: Site) -> Iterator[ModelPage]:
    with open_model_page(f16_chromium, site) as opened:
        yield opened


@pytest.mark.parametrize(
    ("tier", "activations"),
    [("software", "float"), pytest.param("subgroups", "float", marks=pytest.mark.sweep), ("base", "int8")],
)
def test_without_float16(tier: str, activations: str, bundle: str, stock: ModelPage) -> None:
    check_validation(stock.validate(bundle, tier, activations=activations), tier)
    if tier != "software":
        assert few_error(stock, MODEL.vocab) < 1e-5


@pytest.mark.sweep
@pytest.mark.parametrize(("tier", "activations"), [("f16-subgroups", "float"), ("f16", "int8")])
def test_with_float16(tier: str, activations: str, bundle: str, f16: ModelPage) -> None:
    check_validation(f16.validate(bundle, tier, activations=activations), tier)


def test_without_webgpu(bundle: str, stock: ModelPage) -> None:
    report = stock.validate(bundle, "wasm")
    assert report["ok"] and report["activation"] == "int8", report
