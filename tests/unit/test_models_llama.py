"""Llama's config, its parameters against checkpoints, and RoPE's tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.kernels.layouts.kv_cache import ROPE_FINE, rope_tables
from mlcweb.models import architecture
from mlcweb.models.families.llama.llama import LlamaConfig
from mlcweb.models.parts.rope import RopeSettings
from tests.support.llama_cases import CASES, LLAMA3_ROPE, decoder, packed
from tests.support.tiny import TinyLlama


def config(model: TinyLlama | None = None, **changes: Any) -> LlamaConfig:
    values = {**(model or TinyLlama()).hf_config(), **changes}
    return LlamaConfig.from_hf({key: value for key, value in values.items() if value is not ...})


@pytest.mark.parametrize("tied", [True, False])
def test_shapes_are_those_of_a_checkpoint(tied: bool) -> None:
    tiny = TinyLlama(tied=tied, heads=6, kv_heads=2, head_dim=32, hidden=96, layers=3)
    assert decoder(tiny).shapes() == tiny.shapes()
    assert decoder(tiny).weight_count == sum(int(np.prod(shape)) for shape in tiny.shapes().values())


@pytest.mark.parametrize("name", CASES)
def test_params_stack_to_what_the_kernels_read(name: str) -> None:
    arrays = packed(CASES[name])
    params = {param.name: param.shape for param in decoder(CASES[name]).params()}
    assert params == {name.removesuffix(".weight"): array.shape for name, array in arrays.items()}


def test_missing_values_take_transformers_defaults() -> None:
    actual = config(
        num_key_value_heads=..., head_dim=..., rope_theta=..., tie_word_embeddings=..., hidden_act=...
    )
    assert (actual.num_key_value_heads, actual.head_dim) == (4, 16)
    assert actual.ropes[0].theta == 10000.0 and actual.ropes[0].kind == "default"
    assert actual.tie_word_embeddings is False


def test_rope_as_transformers_5_writes_it() -> None:
    old = config(rope_theta=5e5, rope_scaling=LLAMA3_ROPE).ropes[0]
    new = config(rope_theta=..., rope_scaling=..., rope_parameters={"rope_theta": 5e5, **LLAMA3_ROPE}).ropes[
        0
    ]
    assert (new.theta, new.kind, new.dims) == (old.theta, old.kind, old.dims) == (5e5, "llama3", 16)
    np.testing.assert_array_equal(new.frequencies(64)[0], old.frequencies(64)[0])


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"vocab_size": "many"}, CheckpointError),
        ({"num_attention_heads": 0}, CheckpointError),
        ({"num_attention_heads": None}, CheckpointError),
        ({"rms_norm_eps": ...}, CheckpointError),
        ({"head_dim": 8}, UnsupportedError),
        ({"intermediate_size": 98}, UnsupportedError),
        ({"num_hidden_layers": 0}, CheckpointError),
        ({"max_position_embeddings": 0}, CheckpointError),
        ({"rope_theta": -1.0}, CheckpointError),
        ({"hidden_act": "gelu"}, UnsupportedError),
        ({"attention_bias": "yes"}, CheckpointError),
        ({"hidden_size": 64.5}, CheckpointError),
        ({"partial_rotary_factor": 0.1}, UnsupportedError),
        ({"rope_scaling": "linear"}, CheckpointError),
        ({"rope_scaling": {"type": "linear"}}, CheckpointError),
        ({"rope_scaling": {"type": "linear", "factor": 0}}, CheckpointError),
        (
            {"rope_scaling": {"rope_type": "llama3", **{k: "8" for k in LLAMA3_ROPE if k != "rope_type"}}},
            CheckpointError,
        ),
        ({"rope_scaling": {"rope_type": "dynamic"}}, CheckpointError),
        ({"rope_scaling": {"rope_type": "ntk"}}, UnsupportedError),
        (
            {"rope_scaling": {"rope_type": "longrope", "short_factor": [1.0], "long_factor": 2}},
            CheckpointError,
        ),
    ],
    ids=str,
)
def test_odd_configs(changes: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        config(**changes)


@pytest.mark.parametrize("architectures", [None, [], "LlamaForCausalLM", ["Other"], [["LlamaForCausalLM"]]])
def test_unknown_architectures(architectures: Any) -> None:
    with pytest.raises(UnsupportedError, match=r"known: .*LlamaForCausalLM"):
        architecture({"architectures": architectures, "model_type": "other"})


@pytest.mark.parametrize("position", [0, 1, 63, 64, 1000, 4095, 131071])
def test_two_small_tables_make_every_angle(position: int) -> None:
    frequencies, _ = RopeSettings(64, 64, 500000.0, LLAMA3_ROPE, 131072).frequencies(131072)
    coarse, fine = rope_tables(frequencies, 131072)
    assert coarse.shape == (2048, 64) and fine.shape == (64, 64)
    c1, s1 = np.split(coarse[position // ROPE_FINE].astype(np.float64), 2)
    c2, s2 = np.split(fine[position % ROPE_FINE].astype(np.float64), 2)
    np.testing.assert_allclose(c1 * c2 - s1 * s2, np.cos(position * frequencies), atol=2e-7)
    np.testing.assert_allclose(s1 * c2 + c1 * s2, np.sin(position * frequencies), atol=2e-7)
