"""Prefill with int8 activations is in a bundle only where the host finds that the model bears it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlcweb.bundle import open_bundle
from mlcweb.compile import CompileRequest, compile_bundle
from mlcweb.progress import SilentProgress
from tests.fixtures.models.case import CHUNK, CONTEXT
from tests.fixtures.models.cases import BY_NAME
from tests.fixtures.models.checkpoint import make_checkpoint

pytestmark = pytest.mark.slow


class Notes(SilentProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.mark.parametrize(("name", "bears"), [("llama-3.1", True), ("gemma-2", False)])
def test_int8_prefill_is_left_out_where_it_moves_logits_too_far(
    name: str, bears: bool, tmp_path: Path
) -> None:
    """gemma-2's fixture has scores so large that its soft caps are felt; rounding moves its logits by a seventh."""
    progress = Notes()
    checkpoint = make_checkpoint(tmp_path / name, BY_NAME[name])
    request = CompileRequest(
        str(checkpoint),
        quantization="q4f32_1",
        out_dir=tmp_path / "out",
        context_length=CONTEXT,
        prefill_chunk=CHUNK,
        tiers=("subgroups", "software", "wasm"),
    )
    compile_bundle(request, progress)
    assert any("int8 activations is left out" in note for note in progress.notes) is not bears
    bundle = open_bundle(tmp_path / "out")
    plans = {
        path.name.split(".")[1]: json.loads(path.read_text()) for path in bundle.path.glob("plan.*.json")
    }
    assert ("prefill_int8" in plans["subgroups"]["entries"]) is bears
    assert "prefill_int8" not in plans["software"]["entries"]
    # the CPU's tier rounds all activations, or none
    wasm = bundle.tier("wasm")
    assert bool(wasm.int8) is bears
    assert any("tier wasm computes in float32" in note for note in progress.notes) is not bears
    rounds = any("round" in launch["op"] for launch in plans["wasm"]["entries"]["decode"]["launches"])
    assert rounds is bears
    for tier, plan in plans.items():
        launched = {launch["kernel"] for entry in plan["entries"].values() for launch in entry["launches"]}
        assert launched == set(range(len(plan["kernels"]))), "no kernel is there that nothing launches"
        if tier == "wasm":
            assert {kernel["name"] for kernel in plan["kernels"]} <= set(bundle.kernel_names(tier))
            continue
        (wgsl,) = bundle.path.glob(f"kernels.{tier}.*.wgsl")
        lines = [line for line in wgsl.read_text().splitlines() if line.startswith("//// kernel ")]
        assert lines == [f"//// kernel {kernel['name']}" for kernel in plan["kernels"]]
