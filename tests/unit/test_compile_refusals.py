"""What cannot be compiled is refused by one message that names it, before any work, and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from mlcweb.compile import CompileRequest, compile_bundle
from mlcweb.errors import (
    CheckpointError,
    CompileError,
    MlcwebError,
    RecipeError,
    SourceError,
    UnsupportedError,
)
from mlcweb.progress import SilentProgress
from tests.fixtures.models.cases import CASES
from tests.fixtures.models.checkpoint import make_checkpoint
from tests.support.tiny import TinyLlama, make_llama


class NoWork(SilentProgress):
    """Fails as soon as a stage after ``open`` begins."""

    def start(self, stage: str, total: int = 0, unit: str = "items") -> None:
        assert stage == "open", f"{stage} began"


def refusal(source: Path | str, out: Path, kind: type[MlcwebError], **options: Any) -> MlcwebError:
    request = CompileRequest(str(source), out_dir=out, **{"quantization": "q4f32_1", **options})
    with pytest.raises(kind) as caught:
        compile_bundle(request, NoWork())
    assert type(caught.value) is kind
    assert not out.exists()
    assert not list(out.parent.glob(".*partial*"))
    return caught.value


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_llama(tmp_path / "small", TinyLlama(layers=1))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def edit(path: Path, **changes: Any) -> None:
    value = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: item for key, item in value.items() if item is not ...}))


def test_an_unknown_recipe_names_near_ones(out: Path) -> None:
    error = refusal("Llama-3.2-1", out, RecipeError)
    assert "'Llama-3.2-1'" in error.message and "Llama-3.2-1B" in error.message
    assert "mlcweb list" in error.hint


@pytest.mark.parametrize("source", ["./nowhere", "nowhere.gguf", "a/b/c", "a/" * 3000])
def test_a_path_that_is_not_there_is_not_taken_for_a_recipe(source: str, out: Path) -> None:
    assert f"{source}: no such file" in refusal(source, out, SourceError).message


def test_a_name_longer_than_any_path_is_an_unknown_recipe(out: Path) -> None:
    assert "no recipe is called" in refusal("x" * 5000, out, RecipeError).message


@pytest.mark.parametrize(
    ("options", "said", "hint"),
    [
        ({"quantization": "q4f16_3"}, "quantization 'q4f16_3'", "Did you mean q4f16_1?"),
        ({"quantization": ""}, "quantization ''", "q4f16_1"),
        ({"tiers": ("f16",)}, "tier f16 computes in float16, and q4f32_1 in float32", "subgroups, base"),
        ({"tiers": ("base", "fast")}, "no tier 'fast'", "subgroups, base"),
        ({"context_length": 513}, "--context 513 is longer than the model's 512", "--context 512"),
        ({"context_length": 40}, "--context 40 leaves no room", "--context "),
        ({"context_length": 0}, "--context 0", ""),
        ({"prefill_chunk": -1}, "--prefill-chunk -1", ""),
        ({"kv_cache_dtype": "int8"}, "--kv-cache-dtype int8", "float16 or float32"),
        (
            {"matrix": True, "quantization": "q3f32_1"},
            "--matrix multiplies weights in groups of 32",
            "q4f32_1",
        ),
        ({"matrix": True, "tiers": ("base",)}, "--matrix is for the tier subgroups", "--tier subgroups"),
        ({"scales": "best"}, "--scales best", "calibrated or mlc"),
        (
            {"scales": "calibrated", "quantization": "q8f32_1"},
            "--scales calibrated is for weights",
            "q4f32_1",
        ),
        ({"scales": "calibrated", "quantization": "q0f16"}, "--scales calibrated is for weights", "q4f16_1"),
        ({"name": "a/b"}, "--name 'a/b'", "--out"),
        ({"name": ".hidden"}, "--name '.hidden'", "--out"),
        ({"name": "n" * 300}, "cannot name a bundle", "--out"),
    ],
)
def test_options(options: dict[str, Any], said: str, hint: str, model: Path, out: Path) -> None:
    error = refusal(model, out, UnsupportedError, **options)
    assert said in error.message
    assert hint in error.hint


def test_texts_to_calibrate_on(model: Path, out: Path, tmp_path: Path) -> None:
    text = tmp_path / "words.txt"
    error = refusal(model, out, SourceError, calibrate=text)
    assert f"{text}: cannot be read" in error.message
    text.write_text("a few words " * 20)
    error = refusal(model, out, SourceError, calibrate=text)
    assert f"{text}: has " in error.message and "needs 256" in error.message and "longer" in error.hint
    text.write_text("many words " * 200)
    assert "--scales mlc" in refusal(model, out, UnsupportedError, calibrate=text, scales="mlc").message
    error = refusal(model, out, UnsupportedError, calibrate=text, quantization="q0f32")
    assert "--calibrate is for weights that are rounded to fewer than 8 bits" in error.message


def test_a_mixture_of_experts_has_no_products_on_matrices(tmp_path: Path, out: Path) -> None:
    (case,) = (case for case in CASES if case.name == "mixtral")
    error = refusal(make_checkpoint(tmp_path / "experts", case), out, UnsupportedError, matrix=True)
    assert "--matrix: a mixture of experts" in error.message


@pytest.mark.slow
def test_the_shortest_context_that_fits_is_named(model: Path, out: Path) -> None:
    hint = refusal(model, out, UnsupportedError, context_length=2).hint
    least = int(hint.rstrip(".").split()[-1])
    options: dict[str, Any] = {"quantization": "q4f32_1", "tiers": ("base",)}
    refusal(model, out, UnsupportedError, context_length=least - 1)
    assert compile_bundle(CompileRequest(str(model), out_dir=out, context_length=least, **options)).bytes


@pytest.mark.parametrize("kind", ["hub", "pypi"])
def test_source_kinds_are_for_recipes(kind: str, model: Path, out: Path) -> None:
    assert f"--source {kind} is for recipes" in refusal(model, out, SourceError, source_kind=kind).message


def test_a_local_folder_has_no_revision(model: Path, out: Path) -> None:
    assert "no revision v2" in refusal(model, out, SourceError, revision="v2").message


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"architectures": ["MambaForCausalLM"]}, UnsupportedError, "'MambaForCausalLM'"),
        ({"architectures": ..., "model_type": "gpt2"}, UnsupportedError, "'gpt2'"),
        ({"hidden_act": "gelu"}, UnsupportedError, "hidden_act = 'gelu'"),
        ({"attention_bias": True}, CheckpointError, "q_proj.bias"),
        ({"rope_scaling": {"rope_type": "ntk", "factor": 4}}, UnsupportedError, "'ntk'"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8}}, CheckpointError, "low_freq_factor"),
        ({"hidden_size": ...}, CheckpointError, "hidden_size"),
        ({"hidden_size": 70, "head_dim": 16}, UnsupportedError, "hidden_size 70"),
        ({"intermediate_size": 90}, UnsupportedError, "it must be a multiple of 4"),
        ({"head_dim": 24}, UnsupportedError, "head_dim 24"),
        ({"num_key_value_heads": 3}, CheckpointError, "3 key-value heads"),
        ({"vocab_size": 323}, CheckpointError, "model.embed_tokens.weight is [320, 64], expected [323, 64]"),
        ({"num_hidden_layers": 2}, CheckpointError, "lacks model.layers.1."),
        ({"num_hidden_layers": 0}, CheckpointError, ""),
        ({"num_hidden_layers": 1 << 31}, CheckpointError, "num_hidden_layers is 2147483648, which no model"),
        ({"num_hidden_layers": 500}, CheckpointError, "num_hidden_layers is 500; the checkpoint has 11"),
        ({"num_hidden_layers": float("inf")}, CheckpointError, "num_hidden_layers is inf, not a whole"),
        ({"num_hidden_layers": float("nan")}, CheckpointError, "num_hidden_layers is nan, not a whole"),
        ({"vocab_size": 1 << 40}, CheckpointError, "vocab_size is 1099511627776, which no model"),
        ({"vocab_size": 1 << 20}, CheckpointError, "vocab_size is 1048576; the checkpoint has no tensor"),
        ({"hidden_size": 10**400}, CheckpointError, "hidden_size is 1000"),
        ({"hidden_size": 1 << 16}, CheckpointError, "hidden_size is 65536; the checkpoint has no tensor"),
        ({"intermediate_size": 1 << 20}, CheckpointError, "intermediate_size is 1048576; the checkpoint"),
        ({"head_dim": 1 << 40}, CheckpointError, "head_dim is 1099511627776, which no model"),
        ({"head_dim": 1 << 20}, CheckpointError, "num_attention_heads times head_dim is 4194304; the"),
        ({"num_attention_heads": 1 << 30}, CheckpointError, "num_attention_heads times head_dim is"),
        ({"hidden_size": 1280, "vocab_size": 1280}, CheckpointError, "its sizes make at least"),
        ({"max_position_embeddings": 1 << 70}, CheckpointError, "max_position_embeddings is"),
        ({"rms_norm_eps": float("inf")}, CheckpointError, "rms_norm_eps is inf"),
        ({"rope_theta": float("nan")}, CheckpointError, "rope_theta"),
        ({"partial_rotary_factor": 1e308}, CheckpointError, "of a head, not a part"),
        ({"rope_scaling": {"type": "linear", "factor": 1e-320}}, CheckpointError, "make no frequencies"),
        ({"rope_scaling": {"type": "yarn", "factor": 2}, "rope_theta": 1}, CheckpointError, "frequencies"),
        ({"tie_word_embeddings": False}, CheckpointError, "lacks lm_head.weight"),
        ({"eos_token_id": 320}, CheckpointError, "stop token 320"),
        ({"quantization_config": {"quant_method": "awq"}}, UnsupportedError, "already quantized (awq)"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_configs(changes: dict[str, Any], kind: type[MlcwebError], said: str, model: Path, out: Path) -> None:
    edit(model / "config.json", **changes)
    assert said in refusal(model, out, kind).message


def test_learned_positions_must_fit_too(tmp_path: Path, out: Path) -> None:
    (case,) = (case for case in CASES if case.name == "gpt2")
    folder = make_checkpoint(tmp_path / "gpt2", case)
    edit(folder / "config.json", n_positions=1 << 30)
    error = refusal(folder, out, CheckpointError)
    assert "max_position_embeddings is 1073741824; the checkpoint has no tensor" in error.message


def test_missing_extra_and_wrongly_shaped_tensors(model: Path, out: Path) -> None:
    path = model / "model.safetensors"
    tensors = load_file(path)
    norm = tensors.pop("model.norm.weight")
    save_file(tensors, path)
    assert "lacks model.norm.weight" in refusal(model, out, CheckpointError).message
    save_file({**tensors, "model.norm.weight": norm[:-1]}, path)
    assert "model.norm.weight is [63], expected [64]" in refusal(model, out, CheckpointError).message
    save_file({**tensors, "model.norm.weight": norm, "score.weight": norm}, path)
    assert "score.weight" in refusal(model, out, CheckpointError).message


def test_truncated_safetensors(model: Path, out: Path) -> None:
    path = model / "model.safetensors"
    whole = path.read_bytes()
    for length in (0, 7, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert "model.safetensors" in refusal(model, out, CheckpointError).message


def test_no_tokenizer(model: Path, out: Path) -> None:
    (model / "tokenizer.json").unlink()
    assert "tokenizer.json" in refusal(model, out, CheckpointError).message


@pytest.mark.parametrize("text", ["{}", '{"model": {"type": "Nonsense"}}', "[]", "{"])
def test_a_damaged_tokenizer(text: str, model: Path, out: Path) -> None:
    (model / "tokenizer.json").write_text(text)
    assert "tokenizer.json" in refusal(model, out, CheckpointError).message


def test_a_tokenizer_of_a_larger_vocabulary(model: Path, out: Path) -> None:
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    vocab = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {text: i + 100 if i > 10 else i for text, i in vocab.items()}
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert "vocabulary has 320" in refusal(model, out, CheckpointError).message


def test_a_chat_template_that_the_engine_cannot_render(model: Path, out: Path) -> None:
    edit(
        model / "tokenizer_config.json",
        chat_template="{% for m in messages %}\n{{ m | xmlattr }}{% endfor %}",
    )
    error = refusal(model, out, UnsupportedError)
    assert "line 2 of the chat template" in error.message and "the filter 'xmlattr'" in error.message


def test_a_broken_chat_template(model: Path, out: Path) -> None:
    edit(model / "tokenizer_config.json", chat_template="{% for %}")
    error = refusal(model, out, CheckpointError)
    assert "chat template" in error.message and "Mend" in error.hint


def test_weights_that_are_not_finite(model: Path, out: Path) -> None:
    path = model / "model.safetensors"
    tensors = load_file(path)
    tensors["model.layers.0.mlp.up_proj.weight"][3, 5] = float("nan")
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match="up_proj"):
        compile_bundle(CompileRequest(str(model), quantization="q4f32_1", tiers=("base",), out_dir=out))
    assert sorted(p.name for p in out.parent.iterdir()) == ["small"]


def test_a_chunk_beyond_the_grid_of_webgpu(tmp_path: Path, out: Path) -> None:
    model = make_llama(tmp_path / "long", TinyLlama(layers=1, context=1 << 20))
    options: dict[str, Any] = {"quantization": "q4f32_1", "tiers": ("base",)}
    with pytest.raises(CompileError, match="65535"):
        compile_bundle(
            CompileRequest(str(model), out_dir=out, context_length=1 << 20, prefill_chunk=1 << 20, **options)
        )
    assert not out.exists()
