"""Models with matrices in pieces, as those over 128 MiB are: on the host against transformers, and in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mlcweb.bundle import open_bundle
from mlcweb.compile import CompileRequest, compile_bundle
from mlcweb.kernels.layouts import pieces
from mlcweb.sources import open_checkpoint
from tests.fixtures.models.case import CHUNK, CONTEXT, PROMPT
from tests.fixtures.models.cases import BY_NAME
from tests.fixtures.models.checkpoint import make_checkpoint
from tests.fixtures.models.expected import load
from tests.fixtures.models.host import feed
from tests.support.browser.model_page import ModelPage, Site, open_model_page
from tests.support.browser.validation import check_validation
from tests.support.engine import needs_engine

pytestmark = needs_engine

# a gated MLP, and LayerNorm with biases of everything, the head's too
SPLIT = {"llama-3.1": "model.layers.0.mlp.gate_up_proj", "phi-2": "lm_head"}
MAX_BYTES = 9000  # of a piece, which is never less than 64 outputs


@pytest.fixture(scope="module")
def bundles(site: Site, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """By case, the name under which its bundle is served."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "MAX_BINDING_BYTES", MAX_BYTES)
        patch.setenv("MLCWEB_KERNEL_CACHE", "")  # whose keys do not know of it
        for name, weight in SPLIT.items():
            out = site.folder / f"pieces-{name}"
            compile_bundle(
                CompileRequest(
                    str(make_checkpoint(tmp_path_factory.mktemp(name), BY_NAME[name])),
                    quantization="q4f32_1",
                    out_dir=out,
                    context_length=CONTEXT,
                    prefill_chunk=CHUNK,
                )
            )
            tensors = {tensor.name for tensor in open_bundle(out).manifest.weights.tensors}
            assert {f"{weight}.parts.{i}.q_weight" for i in (0, 1)} <= tensors
            assert "model.embed_tokens.parts.1.q_scale" in tensors
    return {name: f"pieces-{name}" for name in SPLIT}


@pytest.fixture(scope="module")
def page(chromium: Path, site: Site) -> Iterator[ModelPage]:
    with open_model_page(chromium, site) as opened:
        yield opened


@pytest.mark.parametrize("name", SPLIT)
def test_the_host_gives_transformers_logits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "MAX_BINDING_BYTES", MAX_BYTES)
    checkpoint = open_checkpoint(str(make_checkpoint(tmp_path, BY_NAME[name])))
    expected = load(BY_NAME[name], "q4f32_1")
    actual, wanted = feed(checkpoint, "q4f32_1", expected.tokens, PROMPT), expected.logits[PROMPT - 1 :]
    assert (np.abs(actual - wanted).max(axis=1) / np.ptp(wanted, axis=1)).max() < 1e-4


@pytest.mark.parametrize(
    ("tier", "activations"),
    [
        ("software", "float"),
        pytest.param("subgroups", "float", marks=pytest.mark.sweep),
        pytest.param("subgroups", "int8", marks=pytest.mark.sweep),
    ],
)
@pytest.mark.parametrize("name", SPLIT)
def test_they_validate(
    name: str, tier: str, activations: str, bundles: dict[str, str], page: ModelPage
) -> None:
    check_validation(page.validate(bundles[name], tier, activations=activations), tier)
