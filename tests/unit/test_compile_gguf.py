"""Bundles that keep a GGUF file's types: which tensors they have, and what the host computes with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.synthetic.gguf_llama import write_random_gguf
from mlcweb.bundle import open_bundle
from mlcweb.compile import CompileRequest, compile_bundle
from mlcweb.errors import UnsupportedError
from mlcweb.kernels.layouts import pieces
from mlcweb.progress import SilentProgress
from tests.support.adapters import lora, make_adapter
from tests.support.mixed_gguf import MODEL, mixed
from tests.support.tiny import TinyLlama, make_llama

pytestmark = pytest.mark.slow

UNTIED = TinyLlama(hidden=256, heads=4, kv_heads=2, head_dim=64, intermediate=512, tied=False, layers=1)


class Notes(SilentProgress):
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def compiled(source: Path, out: Path, quantization: str | None = None, **options: Any) -> dict[str, Any]:
    """Compile, and what the host answered."""
    progress = options.pop("progress", None)
    request = CompileRequest(
        str(source), quantization, out, context_length=64, prefill_chunk=64, tiers=("base",), **options
    )
    compile_bundle(request, progress)
    bundle = open_bundle(out)
    assert bundle.manifest.validation is not None
    validation: dict[str, Any] = json.loads(bundle.file(bundle.manifest.validation))
    return validation


def tensors(bundle: Path) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tensor.shape for tensor in open_bundle(bundle).manifest.weights.tensors}


@pytest.mark.parametrize("model", [MODEL, UNTIED], ids=["tied", "untied"])
def test_the_host_answers_as_with_the_dequantized_file(tmp_path: Path, model: TinyLlama) -> None:
    source = write_random_gguf(tmp_path / "mixed.gguf", model.hf_config(), mixed)
    kept, whole = (compiled(source, tmp_path / name, quant) for name, quant in (("a", None), ("b", "q0f32")))
    assert open_bundle(tmp_path / "a").manifest.model.quantization == "gguf"
    assert kept["greedy"] == whole["greedy"]
    for actual, wanted in zip(kept["steps"], whole["steps"], strict=True):
        logits, expected = (dict(map(tuple, step["top"])) for step in (actual, wanted))
        assert logits.keys() == expected.keys()
        assert all(abs(logits[token] - expected[token]) <= 2e-4 * wanted["range"] for token in logits)


def test_each_tensor_keeps_its_type_and_what_agrees_stays_together(tmp_path: Path) -> None:
    source = write_random_gguf(tmp_path / "mixed.gguf", UNTIED.hf_config(), mixed)
    compiled(source, tmp_path / "a")
    actual = {name.removeprefix("model."): shape for name, shape in tensors(tmp_path / "a").items()}
    layer = "layers.0"
    assert actual["embed_tokens.q6_k_high"] == (320, 16)
    assert actual["lm_head.bf16"] == (320, 128)
    assert actual[f"{layer}.self_attn.qkv_proj.parts.0.q4_k"] == (256 + 128, 32)
    assert actual[f"{layer}.self_attn.qkv_proj.parts.1.q6_k"] == (128, 32)
    assert actual[f"{layer}.mlp.gate_up_proj.gate.iq4_xs"] == (512, 32)
    assert actual[f"{layer}.mlp.gate_up_proj.up.q8_0"] == (512, 64)
    assert actual[f"{layer}.mlp.down_proj.q3_k_scale"] == (256, 7)
    source = write_random_gguf(tmp_path / "one.gguf", MODEL.hf_config(), lambda _: "Q4_K")
    compiled(source, tmp_path / "b")
    assert "model.layers.1.self_attn.qkv_proj.q4_k" in tensors(tmp_path / "b")


def test_a_bundle_is_as_large_as_the_files_tensors(tmp_path: Path) -> None:
    source = write_random_gguf(tmp_path / "mixed.gguf", MODEL.hf_config(), mixed)
    compiled(source, tmp_path / "a")
    weights = open_bundle(tmp_path / "a").manifest.weights
    stored = sum(tensor.bytes for tensor in weights.tensors if "rope" not in tensor.name)
    assert stored <= 1.02 * source.stat().st_size


def test_codebooks_become_eight_bits_and_are_named(tmp_path: Path) -> None:
    def kind(name: str) -> str:
        return "IQ2_XXS" if "ffn_down" in name else "Q4_0"

    notes = Notes()
    source = write_random_gguf(tmp_path / "a.gguf", MODEL.hf_config(), kind)
    compiled(source, tmp_path / "a", progress=notes)
    assert "model.layers.0.mlp.down_proj.q8_0" in tensors(tmp_path / "a")
    assert "2 matrices are stored as Q8_0, quantized again: IQ2_XXS" in notes.notes


def test_what_an_adapter_changes_becomes_eight_bits_and_is_named(tmp_path: Path) -> None:
    notes = Notes()
    source = write_random_gguf(tmp_path / "a.gguf", MODEL.hf_config(), mixed)
    changed = lora("model.layers.0.mlp.down_proj", 256, 512)
    adapter = make_adapter(tmp_path / "adapter", changed)
    merged = compiled(source, tmp_path / "a", progress=notes, adapter=str(adapter))
    actual = tensors(tmp_path / "a")
    assert "model.layers.0.mlp.down_proj.q8_0" in actual and "model.layers.1.mlp.down_proj.q3_k" in actual
    assert "1 matrix is stored as Q8_0, quantized again: merged with the adapter" in notes.notes
    assert merged["steps"] != compiled(source, tmp_path / "b")["steps"]


def test_matrices_in_pieces_answer_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_random_gguf(tmp_path / "a.gguf", UNTIED.hf_config(), mixed)
    whole = compiled(source, tmp_path / "a")
    monkeypatch.setattr(pieces, "MAX_BINDING_BYTES", 9000)
    monkeypatch.setenv("MLCWEB_KERNEL_CACHE", "")  # whose keys do not know of it
    assert compiled(source, tmp_path / "b") == whole
    actual = tensors(tmp_path / "b")
    assert {f"model.layers.0.self_attn.qkv_proj.parts.{i}.q4_k" for i in (0, 1)} <= actual.keys()
    assert "model.layers.0.mlp.gate_up_proj.up.parts.1.q8_0_scale" in actual
    assert "lm_head.parts.1.bf16" in actual


def test_quantizations_are_still_made_when_asked_for(tmp_path: Path) -> None:
    source = write_random_gguf(tmp_path / "a.gguf", MODEL.hf_config(), mixed)
    compiled(source, tmp_path / "a", "q4f32_1")
    assert "model.layers.0.self_attn.qkv_proj.q_weight" in tensors(tmp_path / "a")


def test_only_a_gguf_file_has_types_to_keep(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="but this model is not a GGUF file") as caught:
        compiled(make_llama(tmp_path / "model"), tmp_path / "a", "gguf")
    assert "--quant q4f16_1" in caught.value.hint


def test_every_tier_has_every_prefill(tmp_path: Path) -> None:
    source = write_random_gguf(tmp_path / "mixed.gguf", MODEL.hf_config(), mixed)
    request = CompileRequest(str(source), None, tmp_path / "a", context_length=64, matrix=True)
    compile_bundle(request)
    bundle = open_bundle(tmp_path / "a")
    entries = {tier.name: set(bundle.plan(tier.name)["entries"]) for tier in bundle.manifest.tiers}
    always = {"prefill", "decode", "penalize", "mask", "sample", "count"}
    assert set(entries) == {"f16-subgroups", "f16", "subgroups", "base", "software", "wasm"}
    assert entries["wasm"] == {"prefill", "decode"}
    assert entries["software"] == always
    always.add("prefill_few")
    assert entries["f16-subgroups"] - {"prefill_int8"} == {*always, "prefill_matrix"}
    assert entries["base"] - {"prefill_int8"} == always
