"""The host reference against transformers' logits (tests/fixtures/llama_logits.npz), and against itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mlcweb.errors import BundleError
from mlcweb.quantize import get_scheme
from mlcweb.quantize.group import quantize_group
from mlcweb.quantize.unpack import unpack
from mlcweb.reference import model as host_model
from tests.support.llama_cases import CASES, LLAMA3_ROPE, ODD, STEPS, host, packed, prompt

EXPECTED = np.load(Path(__file__).parents[1] / "fixtures" / "llama_logits.npz")


def worst(actual: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the range of the expected logits."""
    return float(np.abs(actual - expected).max() / np.ptp(expected))


@pytest.mark.parametrize("name", CASES)
def test_prefill_and_greedy_decode_match_transformers(name: str) -> None:
    model = host(CASES[name])
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
    whole = host(CASES[name]).feed(tokens)
    single = host(CASES[name])
    for token in tokens:
        logits = single.feed([token])
    assert worst(logits, whole) < 1e-5
    monkeypatch.setattr(host_model, "CHUNK", 7)
    assert worst(host(CASES[name]).feed(tokens), whole) < 1e-5


def test_a_padded_last_group_does_not_count() -> None:
    """Packed weights of odd sizes against the same weights, dequantized and without padding."""
    q4, whole = get_scheme("q4f32_1"), packed(ODD)
    codes: dict[str, np.ndarray] = {}
    for name, weight in packed(ODD).items():
        if weight.ndim == 1:
            codes[name] = weight
            continue
        parts = quantize_group(weight, q4.format)
        codes |= zip((name.replace("weight", kind) for kind in ("q_weight", "q_scale")), parts, strict=True)
        whole[name] = unpack(parts, q4.format)[:, : weight.shape[1]]
    actual, expected = (host(ODD, arrays=arrays).feed(prompt(ODD)) for arrays in (codes, whole))
    assert actual.shape == (321,) and worst(actual, expected) < 1e-5


def test_the_fixture_tells_rope_scaling_and_eps_apart() -> None:
    case = CASES["untied-llama3"]
    tokens, expected = prompt(case), EXPECTED["untied-llama3"][0]
    assert worst(host(case, rope_scaling=None).feed(tokens), expected) > 1e-2
    scaling = {**LLAMA3_ROPE, "high_freq_factor": 2.0}
    assert worst(host(case, rope_scaling=scaling).feed(tokens), expected) > 1e-3
    assert worst(host(case, rms_norm_eps=1e-3).feed(tokens), expected) > 1e-4


def test_what_cannot_be_fed() -> None:
    model = host(CASES["tied"], capacity=4)
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
    head = tensors.pop("lm_head.weight")
    with pytest.raises(BundleError, match="no parameter 'lm_head'"):
        host(untied, 4, tensors).feed([1])
    tensors["lm_head.weight"] = head[:, :32]
    with pytest.raises(ValueError, match="lm_head has 32 columns for 64 inputs"):
        host(untied, 4, tensors).feed([1])
