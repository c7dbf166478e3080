"""``compile --adapter`` makes the bundle that a checkpoint merged beforehand makes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mlcweb.bundle import open_bundle
from mlcweb.cli.command import run
from mlcweb.compile import CompileRequest, CompileResult, compile_bundle
from mlcweb.compile.decide import decide
from mlcweb.compile.job import Job
from mlcweb.errors import CheckpointError
from mlcweb.progress import SilentProgress
from tests.fixtures.models.cases import BY_NAME
from tests.fixtures.models.checkpoint import is_transposed, make_checkpoint
from tests.support.adapters import Tensors, lora, make_adapter
from tests.support.tiny import TinyLlama, make_llama

pytestmark = pytest.mark.slow

MODEL = TinyLlama(layers=1)
LAYER = "model.layers.0."
MODULES = {
    f"{LAYER}self_attn.q_proj": (64, 64),
    f"{LAYER}self_attn.v_proj": (32, 64),
    f"{LAYER}mlp.down_proj": (64, 96),
}


class Notes(SilentProgress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_llama(tmp_path / "base" / "small", MODEL)


def tensors(seed: int = 1) -> Tensors:
    by_name: Tensors = {}
    for i, (module, (out, across)) in enumerate(MODULES.items()):
        by_name |= lora(module, out, across, seed=10 * seed + i)
    return by_name


def compiled(
    source: Path, out: Path, adapter: Path | None = None, progress: SilentProgress | None = None
) -> CompileResult:
    request = CompileRequest(
        str(source),
        quantization="q4f32_1",
        tiers=("base",),
        out_dir=out,
        adapter=None if adapter is None else str(adapter),
    )
    return compile_bundle(request, progress)


def decided(source: Path, adapter: Path | None = None) -> Job:
    asked = None if adapter is None else str(adapter)
    return decide(CompileRequest(str(source), context_length=64, adapter=asked), SilentProgress())


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "mlcweb.json"}


def test_a_merged_checkpoint_gives_the_same_bundle(base: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "sql", tensors())
    result = compiled(base, tmp_path / "a", adapter)
    merged = make_llama(tmp_path / "merged", MODEL)
    weights = load_file(merged / "model.safetensors")
    for module in MODULES:
        a, b = (tensors()[f"{module}.lora_{factor}.weight"].astype(np.float64) for factor in "AB")
        before = weights[f"{module}.weight"]
        change = (b @ a * 2).astype(np.float32)
        weights[f"{module}.weight"] = (before.astype(np.float32) + change).astype(before.dtype)
    save_file(weights, merged / "model.safetensors")
    compiled(merged, tmp_path / "b")
    compiled(base, tmp_path / "c")
    assert files(tmp_path / "a") == files(tmp_path / "b")
    plain = files(tmp_path / "c")
    assert {name.split(".")[0].split("-")[0] for name in set(files(tmp_path / "a")) - set(plain)} == {
        "validation",
        "weights",
    }
    assert result.name == "small-sql-q4f32_1"
    manifest = open_bundle(tmp_path / "a").manifest
    assert manifest.model.source == {"kind": "directory", "name": "small", "adapter": "sql"}
    assert tmp_path.name not in (tmp_path / "a" / "mlcweb.json").read_text()


def test_a_bundle_is_current_for_its_adapter_only(base: Path, tmp_path: Path) -> None:
    out, adapter = tmp_path / "out", make_adapter(tmp_path / "sql", tensors())
    assert not compiled(base, out, adapter).reused
    assert compiled(base, out, adapter).reused
    assert not compiled(base, out).reused
    assert not compiled(base, out, adapter).reused
    make_adapter(adapter, tensors(seed=2))
    assert not compiled(base, out, adapter).reused
    make_adapter(adapter, tensors(seed=2), lora_alpha=9)
    assert not compiled(base, out, adapter).reused


def test_a_head_that_was_trained_apart_is_stored(base: Path, tmp_path: Path) -> None:
    head = np.random.default_rng(3).standard_normal((MODEL.vocab, MODEL.hidden), np.float32)
    adapter = make_adapter(tmp_path / "sql", {"lm_head.weight": head}, modules_to_save=["lm_head"])
    progress = Notes()
    compiled(base, tmp_path / "out", adapter, progress)
    assert progress.said == ["sql trained embedding and head apart: the head is stored too"]
    names = {tensor.name for tensor in open_bundle(tmp_path / "out").manifest.weights.tensors}
    assert "lm_head.q_weight" in names and "model.embed_tokens.q_weight" in names
    weights = load_file(base / "model.safetensors")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    save_file({**weights, "lm_head.weight": head}, base / "model.safetensors")
    compiled(base, tmp_path / "untied")
    assert files(tmp_path / "out") == files(tmp_path / "untied")


@pytest.mark.parametrize("name", ["phi-3-4k", "pythia", "mixtral", "gpt2", "gemma-3"])
def test_every_linear_of_a_layer_by_its_checkpoint_name(name: str, tmp_path: Path) -> None:
    """Fused projections, experts and Conv1D are tensors like others: what is quantized is what the formula gives."""
    case = BY_NAME[name]
    folder = make_checkpoint(tmp_path / "base", case)
    shapes = {
        key: tensor.shape
        for key, tensor in decided(folder).checkpoint.tensors.items()
        if ".0." in key and len(tensor.shape) == 2 and not key.endswith(".bias")
    }
    flip = {key: is_transposed(case, key) for key in shapes}
    actual: Tensors = {}
    for seed, (key, (rows, columns)) in enumerate(shapes.items()):
        out, across = (columns, rows) if flip[key] else (rows, columns)
        actual |= lora(key.removesuffix(".weight"), out, across, seed=seed)
    adapter = make_adapter(tmp_path / "sql", actual)
    plain, job = decided(folder), decided(folder, adapter)
    assert len(shapes) >= 4
    for key in shapes:
        a, b = (actual[f"{key.removesuffix('.weight')}.lora_{factor}.weight"] for factor in "AB")
        before = plain.checkpoint.tensors[key].read().astype(np.float32)
        change = 2 * (b @ a)
        merged = job.checkpoint.tensors[key].read().astype(np.float32)
        np.testing.assert_allclose(
            merged, before + (change.T if flip[key] else change), rtol=2**-7, atol=1e-5
        )


def test_what_does_not_fit_is_refused_before_any_work(base: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "sql", lora("model.layers.7.mlp.down_proj", 64, 96))
    with pytest.raises(CheckpointError, match=r"the adapter sql changes model\.layers\.7"):
        compiled(base, tmp_path / "out", adapter)
    assert not (tmp_path / "out").exists()


def test_the_command_line_merges_and_inspect_shows_the_adapter(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter, out = make_adapter(tmp_path / "sql", tensors()), str(tmp_path / "out")
    options = ["--adapter", str(adapter), "--quant", "q4f32_1", "--tier", "base", "--out", out]
    assert run(["compile", str(base), *options]) == 0
    capsys.readouterr()
    assert run(["inspect", out]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["adapter", "sql"] in lines and ["source", "kind=directory", "name=small"] in lines
    assert ["name", "small-sql-q4f32_1"] in lines
