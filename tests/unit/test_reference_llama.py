"""The host reference against transformers' logits (tests/fixtures/llama_logits.npz), and against itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlcweb.errors import BundleError, UnsupportedError
from mlcweb.quantize import dequantize_group, get_scheme, quantize_group
from mlcweb.reference import ArrayStore, LlamaConfig, LlamaReference, PackedWeights, llama
from mlcweb.reference.rope import inverse_frequencies
from tests.fixtures.llama_cases import CASES, LLAMA3_ROPE, ODD, STEPS, packed, prompt
from tests.tiny import TinyLlama

EXPECTED = np.load(Path(__file__).parents[1] / "fixtures" / "llama_logits.npz")


def reference(case: TinyLlama, capacity: int = 64, **config: Any) -> LlamaReference:
    sizes = LlamaConfig.from_hf(case.hf_config() | config)
    return LlamaReference(PackedWeights(ArrayStore(packed(case))), sizes, capacity)


def worst(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the range of the expected logits."""
    return float(np.abs(found - expected).max() / np.ptp(expected))


@pytest.mark.parametrize("name", CASES)
def test_prefill_and_greedy_decode_match_transformers(name: str) -> None:
    model = reference(CASES[name])
    logits = model.feed(prompt(CASES[name]))
    for step in range(STEPS + 1):
        assert logits.dtype == np.float32
        assert worst(logits, EXPECTED[name][step]) < 1e-4
        token = int(np.argmax(logits))
        assert token == EXPECTED[name][step].argmax()
        logits = model.feed([token])
    assert model.position == 40 + STEPS + 1


@pytest.mark.parametrize("name", CASES)
def test_one_token_at_a_time_is_the_same_as_a_prefill(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = prompt(CASES[name])
    whole = reference(CASES[name]).feed(tokens)
    single = reference(CASES[name])
    for token in tokens:
        logits = single.feed([token])
    assert worst(logits, whole) < 1e-5
    monkeypatch.setattr(llama, "CHUNK", 7)
    assert worst(reference(CASES[name]).feed(tokens), whole) < 1e-5


def test_a_padded_last_group_does_not_count() -> None:
    """Packed weights of odd sizes against the same weights, dequantized and without padding."""
    q4, whole = get_scheme("q4f32_1"), packed(ODD)
    codes: dict[str, np.ndarray] = {}
    for name, weight in packed(ODD).items():
        if weight.ndim == 1:
            codes[name] = weight
            continue
        parts = quantize_group(weight, q4)
        codes |= zip((name.replace("weight", kind) for kind in ("q_weight", "q_scale")), parts, strict=True)
        whole[name] = dequantize_group(*parts, weight.shape[1])
    sizes = LlamaConfig.from_hf(ODD.hf_config())
    found, expected = (
        LlamaReference(PackedWeights(ArrayStore(arrays)), sizes, 64).feed(prompt(ODD))
        for arrays in (codes, whole)
    )
    assert found.shape == (321,) and worst(found, expected) < 1e-5


def test_the_fixture_tells_rope_scaling_and_eps_apart() -> None:
    case = CASES["untied-llama3"]
    tokens, expected = prompt(case), EXPECTED["untied-llama3"][0]
    assert worst(reference(case, rope_scaling=None).feed(tokens), expected) > 1e-2
    scaling = {**LLAMA3_ROPE, "high_freq_factor": 2.0}
    assert worst(reference(case, rope_scaling=scaling).feed(tokens), expected) > 1e-3
    assert worst(reference(case, rms_norm_eps=1e-3).feed(tokens), expected) > 1e-4


def test_rope_parameters_of_transformers_5_mean_the_same() -> None:
    case = CASES["untied-llama3"]
    config = case.hf_config()
    old = LlamaConfig.from_hf(config)
    theta = config.pop("rope_theta")
    new = LlamaConfig.from_hf(
        {**config, "rope_scaling": None, "rope_parameters": {**LLAMA3_ROPE, "rope_theta": theta}}
    )
    assert new == old
    assert (
        LlamaConfig.from_hf({**case.hf_config(), "rope_scaling": {**LLAMA3_ROPE, "type": "llama3"}}).rope[
            "rope_type"
        ]
        == "llama3"
    )


def test_rope_scaling_of_llama_3_2() -> None:
    """The three ranges, by hand: a wave of 2 pi positions is kept, one of 2.6 million is divided by 32."""
    rope = {**LLAMA3_ROPE, "rope_theta": 500000.0, "factor": 32.0, "original_max_position_embeddings": 8192}
    plain = inverse_frequencies(64, {"rope_type": "default", "rope_theta": 500000.0})
    scaled = inverse_frequencies(64, rope)
    waves = 2 * np.pi / plain
    assert scaled[0] == plain[0] == 1
    assert np.array_equal(scaled[waves < 2048], plain[waves < 2048])
    assert np.allclose(scaled[waves > 8192] * 32, plain[waves > 8192], rtol=1e-6)
    between = (waves > 2048) & (waves < 8192)
    assert between.any() and np.all((scaled < plain)[between] & (scaled > plain / 32)[between])


@pytest.mark.parametrize(
    "config",
    [
        {"attention_bias": True},
        {"mlp_bias": True},
        {"hidden_act": "gelu"},
        {"sliding_window": 4096},
        {"rope_scaling": {"type": "yarn", "factor": 4.0}},
        {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4}},
    ],
)
def test_configs_that_change_the_arithmetic_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError, match="reference has"):
        LlamaConfig.from_hf({**TinyLlama().hf_config(), **config})


def test_config_defaults() -> None:
    config = CASES["tied"].hf_config()
    for key in (
        "head_dim",
        "num_key_value_heads",
        "tie_word_embeddings",
        "rope_theta",
        "rope_scaling",
        "rms_norm_eps",
    ):
        del config[key]
    found = LlamaConfig.from_hf(config)
    assert (found.head_dim, found.kv_heads, found.tied, found.norm_eps) == (16, 4, False, 1e-6)
    assert found.rope == {"rope_type": "default", "rope_theta": 10000.0}


def test_what_cannot_be_fed() -> None:
    model = reference(CASES["tied"], capacity=4)
    for tokens, message in (
        ([], "0 tokens"),
        ([1] * 5, "5 tokens at position 0 of 4"),
        ([320], "320"),
        ([-1], "320"),
    ):
        with pytest.raises(ValueError, match=message):
            model.feed(tokens)
    model.feed([1, 2, 3])
    with pytest.raises(ValueError, match="2 tokens at position 3 of 4"):
        model.feed([1, 2])


def test_a_head_that_is_missing_or_of_another_width() -> None:
    untied = dataclasses.replace(CASES["tied"], tied=False)
    tensors = packed(untied)
    sizes = LlamaConfig.from_hf(untied.hf_config())
    head = tensors.pop("lm_head.weight")
    with pytest.raises(BundleError, match="no parameter 'lm_head'"):
        LlamaReference(PackedWeights(ArrayStore(tensors)), sizes, 4).feed([1])
    tensors["lm_head.weight"] = head[:, :32]
    with pytest.raises(ValueError, match="lm_head has 32 columns for 64 inputs"):
        LlamaReference(PackedWeights(ArrayStore(tensors)), sizes, 4).feed([1])
