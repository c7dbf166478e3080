"""Few tokens fed together, as those that a constraint forces, against the same tokens fed one by one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlcweb.compile import CompileRequest, compile_bundle
from tests.fixtures.models.case import CHUNK, CONTEXT
from tests.fixtures.models.cases import BY_NAME
from tests.fixtures.models.checkpoint import make_checkpoint
from tests.support.browser.few import few_error
from tests.support.browser.model_page import ModelPage, Site, open_model_page
from tests.support.engine import needs_engine

pytestmark = needs_engine


@pytest.fixture(scope="module")
def page(chromium: Path, site: Site) -> Iterator[ModelPage]:
    with open_model_page(chromium, site) as opened:
        yield opened


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("llama-2", "q4f32_1"),  # RMSNorm, a gated MLP
        ("gemma-2", "q4f32_1"),  # norms after products, a cap of scores
        ("gemma-4-e2b", "q4f32_1"),  # caches that later layers read, and factors in their own order
        ("gpt2", "q0f32"),  # LayerNorm with a bias, learned positions, an MLP that is not gated
        ("mixtral", "q4f32_1"),  # experts
        ("lfm2", "q4f32_1"),  # convolutions
    ],
)
def test_logits_are_those_of_steps(
    name: str, scheme: str, page: ModelPage, site: Site, tmp_path: Path
) -> None:
    make_checkpoint(tmp_path, BY_NAME[name])
    request = CompileRequest(
        str(tmp_path), quantization=scheme, out_dir=site.folder / name, name=name,
        context_length=CONTEXT, prefill_chunk=CHUNK, tiers=("base",), evaluate=False, scales="mlc",
    )  # fmt: skip
    compile_bundle(request)
    page.load(name, tier="base", activations="float")
    assert few_error(page, 60) < 1e-5
