"""Every family's checkpoint, converted to GGUF as llama.cpp does it, comes back as it was."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from gguf.quants import dequantize

from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.models import architecture, declare_model
from mlcweb.sources import Checkpoint, open_checkpoint, require
from mlcweb.sources.gguf.families import FAMILIES, build_config, build_tensors, find_family
from mlcweb.sources.gguf.file import GgufFile, GgufTensor
from mlcweb.sources.gguf.metadata import Metadata
from tests.fixtures.models.case import PROMPT, Case
from tests.fixtures.models.cases import BY_NAME, CASES
from tests.fixtures.models.checkpoint import text_weights
from tests.fixtures.models.expected import load
from tests.fixtures.models.gguf_converter import write_gguf
from tests.fixtures.models.host import feed
from tests.fixtures.models.stacks import separate
from tests.support.gguf_metadata import metadata_of

# What GGUF has no place for: windows of some, a scale of Gemma's scores that is no published model's of its size, and
# a limit of SwiGLU.
_UNWRITTEN: dict[str, dict[str, Any]] = {
    "mistral-v0.1": {"sliding_window": None},
    "starcoder2": {"sliding_window": None},
    "gemma-2": {"query_pre_attn_scalar": 128},
    "gemma-3": {"query_pre_attn_scalar": 256},
    "gpt-oss": {"swiglu_limit": 7.0},
    "gpt-oss-mxfp4": {"swiglu_limit": 7.0},
}
_WRITTEN = [
    dataclasses.replace(case, config={**case.config, **_UNWRITTEN.get(case.name, {})})
    for case in CASES
    # nor for this scaling, nor yet for LFM3; and dense Granite 4 is written as Granite 3
    if case.name not in ("llama-dynamic", "lfm3", "granite-4-micro")
]
each_case = pytest.mark.parametrize("case", _WRITTEN, ids=lambda case: case.name)


def opened(path: Path, case: Case, kind: Kind = Kind.F32) -> Checkpoint:
    return open_checkpoint(str(write_gguf(path / "x.gguf", case, kind)))


def original(case: Case) -> dict[str, np.ndarray]:
    """The case's tensors; GGUF has a convolution's taps as a matrix."""
    return {
        name: tensor.squeeze(1) if name.endswith((".conv.conv.weight", ".conv1d.weight")) else tensor
        for name, tensor in separate(text_weights(case)).items()
    }


@each_case
def test_the_config_describes_the_same_model(case: Case, tmp_path: Path) -> None:
    config = opened(tmp_path, case).config
    actual, expected = (architecture(c)[0].from_hf(c) for c in (config, case.text))
    assert _numbers(actual) == _numbers(expected)
    assert len(actual.ropes) == len(expected.ropes)
    for one, other in zip(actual.ropes, expected.ropes, strict=True):
        assert (one.dims, one.head_dim) == (other.dims, other.head_dim)
        assert one.theta == pytest.approx(other.theta, rel=1e-7)  # a float32
        for context in (16, 64, expected.max_position_embeddings):
            np.testing.assert_allclose(
                one.pair_frequencies(context), other.pair_frequencies(context), rtol=1e-5
            )


def _numbers(config: Any) -> dict[str, Any]:
    return {**dataclasses.asdict(config), "ropes": None}


@pytest.mark.slow
@each_case
def test_every_tensor_is_the_checkpoints(case: Case, tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, case)
    config_class, model_class = architecture(checkpoint.config)
    model = declare_model(model_class, config_class.from_hf(checkpoint.config))
    require(checkpoint, model.shapes())
    expected = original(case)
    assert set(checkpoint.tensors) == set(expected)
    for name, tensor in expected.items():
        actual = checkpoint.tensors[name]
        if name.endswith("A_log"):  # the file has its exponential
            np.testing.assert_allclose(actual.read(), tensor.astype(np.float32), rtol=1e-6, err_msg=name)
            continue
        np.testing.assert_array_equal(actual.read(), tensor.astype(np.float32), err_msg=name, strict=True)
        rows = tensor.shape[0]
        for part in (slice(0, 1), slice(rows // 3, rows // 2 + 1), slice(rows - 2, rows), slice(3, 3)):
            np.testing.assert_array_equal(
                actual.read(part), tensor[part].astype(np.float32), err_msg=f"{name} {part}", strict=True
            )


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "error"), [(Kind.F16, 6e-4), (Kind.Q8_0, 6e-3)])
@each_case
def test_quantized_tensors_are_near(case: Case, kind: Kind, error: float, tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, case, kind)
    for name, tensor in original(case).items():
        actual = checkpoint.tensors[name]
        values = actual.read()
        assert values.dtype.name == actual.dtype and values.shape == actual.shape == tensor.shape
        expected = tensor.astype(np.float32)
        assert np.abs(values.astype(np.float32) - expected).max() <= error * np.abs(expected).max(), name
        middle = slice(tensor.shape[0] // 3, tensor.shape[0] // 2)
        np.testing.assert_array_equal(actual.read(middle), values[middle], err_msg=name, strict=True)


@pytest.mark.parametrize(
    "name",
    [
        "llama-3.1",
        "mixtral",
        "gemma-1",
        "phi-2",
        "phi-3.5-long",
        "stablelm-2-12b",
        "gpt2",
        "pythia",
        "olmo-2",
        "starcoder2-v5",
        "qwen1.5-moe",
        "hunyuan-0.5b",
        "qwen3.5",
    ],
)
def test_the_host_answers_as_transformers_did(name: str, tmp_path: Path) -> None:
    case = BY_NAME[name]
    expected = load(case, "q0f32")
    actual = feed(opened(tmp_path, case), "q0f32", expected.tokens[: PROMPT + 4], PROMPT)
    wanted = expected.logits[PROMPT - 1 : PROMPT + 4]
    worst = np.abs(actual - wanted).max(axis=1) / np.ptp(wanted, axis=1)
    assert worst.max() < 1e-4


def test_fused_queries_keys_and_values_of_older_phi_2_files(tmp_path: Path) -> None:
    case = BY_NAME["phi-2"]
    path = write_gguf(tmp_path / "x.gguf", case, fuse=True)
    checkpoint = open_checkpoint(str(path))
    for name, tensor in original(case).items():
        read = checkpoint.tensors[name].read()
        np.testing.assert_array_equal(read, tensor.astype(np.float32), err_msg=name, strict=True)


def test_columns_that_were_moved_keep_their_blocks(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, BY_NAME["qwen3.5-wrapped"], Kind.Q8_0)
    tensor = checkpoint.tensors["model.layers.0.linear_attn.out_proj.weight"]
    assert tensor.gguf_blocks is not None and tensor.gguf_blocks.kind == "Q8_0"
    values = dequantize(tensor.gguf_blocks.load_rows(3, 50), Kind.Q8_0)
    np.testing.assert_array_equal(values, tensor.read(slice(3, 50)))
    # heads of 48 are no whole blocks of 32
    checkpoint = opened(tmp_path, BY_NAME["qwen3.5"], Kind.Q8_0)
    assert checkpoint.tensors["model.layers.0.linear_attn.out_proj.weight"].gguf_blocks is None


def config_of(name: str, **keys: Any) -> dict[str, Any]:
    m = metadata_of(name, **keys)
    return build_config(m, find_family(m))


@pytest.mark.parametrize(
    ("name", "layers", "key_length", "scalar"),
    [("gemma2", 46, 128, 64), ("gemma2", 26, 256, 256), ("gemma3", 62, 128, 64), ("gemma3", 34, 256, 256)],
)
def test_gemmas_27b_scales_scores_its_own_way(name: str, layers: int, key_length: int, scalar: int) -> None:
    config = config_of(name, block_count=layers, attention__key_length=key_length)
    assert config["query_pre_attn_scalar"] == scalar


def test_what_older_gemma_files_leave_out() -> None:
    config = config_of("gemma2")
    assert config["sliding_window"] == 4096
    assert (config["attn_logit_softcapping"], config["final_logit_softcapping"]) == (50.0, 30.0)
    assert config_of("gemma3")["sliding_window"] is None
    assert config_of("gemma3")["sliding_window_pattern"] == 6


def test_llamas_relatives_are_told_by_their_keys() -> None:
    assert config_of("llama")["architectures"] == ["LlamaForCausalLM"]
    mistral = config_of("llama", attention__sliding_window=64)
    assert (mistral["architectures"], mistral["sliding_window"]) == (["MistralForCausalLM"], 64)
    mixtral = config_of("llama", expert_count=8, expert_used_count=2)
    assert (mixtral["architectures"], mixtral["num_local_experts"]) == (["MixtralForCausalLM"], 8)
    assert config_of("llama", expert_count=0)["model_type"] == "llama"


@pytest.mark.parametrize("head_dim", [64, 80, 96, 176, 208])
def test_the_part_that_turns_is_exact(head_dim: int) -> None:
    for dims in range(16, head_dim, 2):
        config = config_of("stablelm", attention__key_length=head_dim, rope__dimension_count=dims)
        actual = architecture(config)[0].from_hf(config)
        assert actual.ropes[0].dims == dims


_OLMO3 = {"attention__sliding_window": 4096}


def test_olmo_3_is_told_by_its_window() -> None:
    assert config_of("olmo2")["architectures"] == ["Olmo2ForCausalLM"]
    config = config_of("olmo2", **_OLMO3)
    assert (config["architectures"], config["sliding_window"]) == (["Olmo3ForCausalLM"], 4096)


def test_rope_scalings() -> None:
    yarn = {
        "rope__scaling__type": "yarn",
        "rope__scaling__factor": 4.0,
        "rope__scaling__yarn_beta_fast": 24.0,
        "rope__scaling__original_context_length": 2048,
    }
    assert config_of("qwen2", **yarn)["rope_scaling"] == {
        "rope_type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 2048,
        "beta_fast": 24.0,
    }
    assert config_of("llama", rope__scaling__factor=2.0)["rope_scaling"] == {
        "rope_type": "linear",
        "factor": 2.0,
    }
    with pytest.raises(UnsupportedError, match="rope scaling 'ntk'"):
        config_of("llama", rope__scaling__type="ntk")
    with pytest.raises(CheckpointError, match=r"needs rope_factors_long\.weight"):
        config_of("phi3", rope__scaling__type="longrope")


def longrope(path: Path, attention: float, original: int = 1024) -> dict[str, Any]:
    """The rope_scaling of a Phi-3 of 4096 tokens with the factors 1 to 32."""
    path.write_bytes(np.arange(1, 33, dtype=np.float32).tobytes())
    keys = {"attn_factor": attention, "original_context_length": original}
    m = metadata_of("phi3", **{f"rope__scaling__{key}": value for key, value in keys.items()})
    names = ("rope_factors_long.weight", "rope_factors_short.weight")
    factors = {name: GgufTensor(path, name, (32,), Kind.F32, 0, 128) for name in names}
    m = Metadata(dataclasses.replace(m.file, tensors={**m.file.tensors, **factors}))
    scaling: dict[str, Any] = build_config(m, find_family(m))["rope_scaling"]
    return scaling


def test_longropes_attention_factor_is_kept_where_it_is_not_the_usual(tmp_path: Path) -> None:
    plain = {"rope_type": "longrope", "long_factor": [*range(1, 33)], "short_factor": [*range(1, 33)]}
    usual = (1 + np.log(4) / np.log(1024)) ** 0.5
    assert longrope(tmp_path / "x", float(np.float32(usual))) == plain
    assert longrope(tmp_path / "x", 1.25) == {**plain, "attention_factor": 1.25}
    assert longrope(tmp_path / "x", 1.25, original=1) == {**plain, "attention_factor": 1.25}


@pytest.mark.parametrize("name", ["llama", "gptneox"])
def test_rows_that_were_moved_are_read_in_few_pieces(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []

    def load_rows(self: GgufTensor, start: int, stop: int) -> np.ndarray:
        reads.append(stop - start)
        return np.arange(start, stop)

    monkeypatch.setattr(GgufTensor, "load_rows", load_rows)
    m = metadata_of(name)
    stem, rows = ("attn_q", 256) if name == "llama" else ("attn_qkv", 768)
    tensor = GgufTensor(Path("x.gguf"), f"blk.0.{stem}.weight", (rows,), Kind.F32, 0, 0)
    family = find_family(m)
    file = dataclasses.replace(m.file, tensors={tensor.name: tensor})
    (actual,) = build_tensors(file, family, build_config(m, family)).values()
    assert sorted(actual.read().tolist()) == list(range(rows))
    assert len(reads) <= 12 and sum(reads) == rows  # queries, keys and values of four heads


@pytest.mark.parametrize(
    ("name", "keys", "error", "message"),
    [
        ("qwen2", {"block_count": None}, CheckpointError, r"lacks qwen2\.block_count"),
        ("gemma", {"attention__head_count": 0}, CheckpointError, r"gemma\.attention\.head_count is 0"),
        ("gemma", {"attention__head_count": [4, 4]}, CheckpointError, "of the wrong type"),
        ("gptneox", {"attention__layer_norm_epsilon": "x"}, CheckpointError, "of the wrong type"),
        ("phi2", {"attention__key_length": 33}, CheckpointError, "33 dimensions"),
        ("qwen3", {"attention__head_count": 512}, CheckpointError, "0 dimensions"),
        ("gemma3", {"attention__sliding_window_pattern": [True]}, CheckpointError, "1 entries for 2 layers"),
        ("llama", {"rope__freq_base": -1.0}, CheckpointError, "freq_base is -1.0"),
        ("llama", {"rope__freq_base": float("inf")}, CheckpointError, "freq_base is inf"),
        ("llama", {"rope__freq_base": 1e300}, CheckpointError, r"freq_base is 1e\+300"),
        ("llama", {"rope__scaling__factor": 0.0}, CheckpointError, "factor is 0.0"),
        ("llama", {"rope__dimension_count": 32}, UnsupportedError, "rotates only part"),
        ("granite", {"rope__scaling__finetuned": False}, UnsupportedError, "Granite without RoPE"),
        ("olmo2", {**_OLMO3, "attention__sliding_window_pattern": [True]}, CheckpointError, "has 1 entries"),
        ("falcon", {}, UnsupportedError, "'falcon' is not supported; known: llama, .*qwen2, .*olmo2"),
    ],
)
def test_files_that_no_config_describes(name: str, keys: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        config_of(name, **keys)


def test_every_family_has_a_model() -> None:
    for family in FAMILIES.values():
        assert architecture({"architectures": [family.architecture]})


@pytest.mark.parametrize(
    ("name", "tensor"), [("llama", "attn_q"), ("gptneox", "attn_qkv"), ("phi2", "attn_qkv")]
)
def test_heads_that_do_not_fit_a_tensor_are_an_error(name: str, tensor: str) -> None:
    m = metadata_of(name)
    actual = GgufTensor(Path("x.gguf"), f"blk.0.{tensor}.weight", (250, 256), Kind.F32, 0, 0)
    family = find_family(m)
    file = dataclasses.replace(m.file, tensors={actual.name: actual})
    with pytest.raises(CheckpointError, match=rf"blk\.0\.{tensor}\.weight has 250 rows, but its heads have"):
        build_tensors(file, family, build_config(m, family))


def test_tensors_that_a_family_has_no_name_for_are_reported(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, BY_NAME["olmo-2"])
    unknown = GgufTensor(Path("x.gguf"), "blk.0.ssm_a.weight", (4, 4), Kind.F32, 0, 0)
    file = GgufFile(Path("x.gguf"), {}, {unknown.name: unknown})
    tensors = {**checkpoint.tensors, **build_tensors(file, FAMILIES["olmo2"], checkpoint.config)}
    config_class, model_class = architecture(checkpoint.config)
    model = declare_model(model_class, config_class.from_hf(checkpoint.config))
    with pytest.raises(CheckpointError, match=r"blk\.0\.ssm_a\.weight"):
        require(dataclasses.replace(checkpoint, tensors=tensors), model.shapes())
