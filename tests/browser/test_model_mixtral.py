"""A compiled Mixtral whose experts are in parts, as a large one's are, against the host reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlcweb.bundle import open_bundle
from mlcweb.compile import CompileRequest, compile_bundle
from mlcweb.kernels.experts import weights
from tests.fixtures.models.case import CHUNK, CONTEXT
from tests.fixtures.models.cases import CASES
from tests.fixtures.models.checkpoint import make_checkpoint
from tests.support.browser.model_page import Site, open_model_page
from tests.support.browser.validation import check_validation
from tests.support.engine import needs_engine

pytestmark = needs_engine

MIXTRAL = next(case for case in CASES if case.name == "mixtral")
PART_BYTES = 32768  # three experts' gates and ups in 4 bits, or seven experts' downs


@pytest.fixture(scope="module")
def bundle(site: Site, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name under which the bundle is served."""
    source = make_checkpoint(tmp_path_factory.mktemp("mixtral"), MIXTRAL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "MAX_BINDING_BYTES", PART_BYTES)
        patch.setenv("MLCWEB_KERNEL_CACHE", "")  # whose keys do not know of it
        compile_bundle(
            CompileRequest(
                str(source),
                quantization="q4f16_1",
                out_dir=site.folder / "mixtral",
                context_length=CONTEXT,
                prefill_chunk=CHUNK,
            )
        )
    tensors = {tensor.name for tensor in open_bundle(site.folder / "mixtral").manifest.weights.tensors}
    stacked = "model.layers.0.mlp.{}_proj.{}.q_weight".format
    assert {stacked("gate_up", 2), stacked("down", 1)} <= tensors
    assert not {stacked("gate_up", 3), stacked("down", 2)} & tensors
    return "mixtral"


@pytest.mark.sweep
def test_experts_in_parts(bundle: str, chromium: Path, site: Site) -> None:
    with open_model_page(chromium, site) as page:
        report = page.validate(bundle, "subgroups", activations="int8")
    assert report["activation"] == "int8"
    check_validation(report, "subgroups")
