"""Models of whole texts, compiled and run in a browser, against transformers, side by side and one by one."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlcweb.compile import CompileRequest, compile_bundle
from mlcweb.evaluate.cosine import cosine
from tests.fixtures.texts.cases import BY_NAME, CONTEXT, TextCase
from tests.fixtures.texts.checkpoint import expected, make_folder
from tests.support.browser.model_page import ModelPage, Site, open_model_page, serve_site
from tests.support.engine import needs_engine

pytestmark = [needs_engine, pytest.mark.slow]

# One of each layer and head: a software adapter makes their kernels for some 15 seconds. The host runs all cases.
EMBEDDINGS = ("bert_mean", "modernbert", "qwen3_embedding", "embedding_gemma")
SCORES = [BY_NAME[name] for name in ("bert_score", "qwen3_score")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("texts") / "site"
    folder.mkdir()
    with serve_site(folder) as made:
        yield made


@pytest.fixture(scope="module")
def page(chromium: Path, site: Site) -> Iterator[ModelPage]:
    with open_model_page(chromium, site) as opened:
        yield opened


def compiled(site: Site, case: TextCase, scheme: str, tiers: tuple[str, ...] = ("software",)) -> str:
    """The name under which the case's bundle is served."""
    served = "-".join([case.name, scheme, *tiers])
    if not (site.folder / served).exists():
        source = site.folder.with_name("models") / case.name
        if not source.exists():
            make_folder(source, case)
        request = CompileRequest(
            str(source), scheme, site.folder / served, served, tiers=tiers, context_length=CONTEXT
        )
        compile_bundle(request)
    return served


def embeddings(page: ModelPage, texts: list[list[int]]) -> list[np.ndarray]:
    answer = page.right("embed", {"input": texts, "encoding_format": "base64"})
    assert [item["index"] for item in answer["data"]] == list(range(len(texts)))
    return [np.frombuffer(base64.b64decode(item["embedding"]), np.float32) for item in answer["data"]]


def off(actual: np.ndarray, wanted: np.ndarray) -> float:
    assert actual.shape == wanted.shape
    return float(np.linalg.norm(actual - wanted) / np.linalg.norm(wanted))


@pytest.mark.parametrize(
    "name",
    [
        *("modernbert", "embedding_gemma"),
        *(pytest.param(name, marks=pytest.mark.sweep) for name in ("bert_mean", "qwen3_embedding")),
    ],
)
def test_embeddings_are_transformers(page: ModelPage, site: Site, name: str) -> None:
    case = BY_NAME[name]
    page.load(compiled(site, case, "q0f32"))
    texts, wanted = case.texts(), expected(case).outputs
    for actual, output in zip(embeddings(page, texts * 3), wanted * 3, strict=True):
        assert off(actual, output) < 2e-5
    for text, output in zip(texts, wanted, strict=True):
        assert off(embeddings(page, [text])[0], output) < 2e-5


ON_CPU = [("wasm", name) for name in EMBEDDINGS]


@pytest.mark.parametrize(
    ("tier", "name"),
    [
        ("base", "bert_mean"),
        pytest.param("subgroups", "bert_mean", marks=pytest.mark.sweep),
        *ON_CPU[:2],
        *(pytest.param(*case, marks=pytest.mark.sweep) for case in ON_CPU[2:]),
    ],
)
def test_on_every_tier(page: ModelPage, site: Site, tier: str, name: str) -> None:
    case = BY_NAME[name]
    page.load(compiled(site, case, "q0f32", (tier,)))
    for actual, output in zip(embeddings(page, case.texts()), expected(case).outputs, strict=True):
        assert off(actual, output) < 2e-5


@pytest.mark.parametrize(
    ("name", "scheme", "least"),
    [
        ("modernbert", "q8f16_1", 0.99),
        pytest.param("qwen3_embedding", "q4f32_1", 0.4, marks=pytest.mark.sweep),
    ],
)
def test_quantized(page: ModelPage, site: Site, name: str, scheme: str, least: float) -> None:
    """The engine makes what the host makes of the rounded weights, which are near transformers' by their bits."""
    case = BY_NAME[name]
    served = compiled(site, case, scheme)
    report = page.validate(served, "software")
    assert report["ok"] and report["max_relative_difference"] < 1e-4, report
    page.load(served)
    for actual, output in zip(embeddings(page, case.texts()), expected(case).outputs, strict=True):
        assert cosine(actual, output) > least


@pytest.mark.parametrize(
    ("name", "scheme", "activation"),
    [
        ("modernbert", "q8f32_1", "int8"),
        ("bert_score", "q8f32_1", "int8"),
        ("qwen3_embedding", "q4f32_1", "float32"),
    ],
)
def test_quantized_on_a_cpu(page: ModelPage, site: Site, name: str, scheme: str, activation: str) -> None:
    """In int8, or in floats where that would move the outputs of such weights too far."""
    served = compiled(site, BY_NAME[name], scheme, ("base", "wasm"))
    report = page.validate(served, "wasm")
    assert report["ok"] and report["activation"] == activation, report


@pytest.mark.parametrize("case", SCORES, ids=lambda case: case.name)
def test_scores_are_the_hosts(page: ModelPage, site: Site, case: TextCase) -> None:
    """Which tests/unit/test_reference_texts.py compares with transformers."""
    report: dict[str, Any] = page.validate(compiled(site, case, "q0f32"), "software")
    assert report["ok"] and report["max_relative_difference"] < 2e-5, report
