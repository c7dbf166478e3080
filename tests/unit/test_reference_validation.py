"""The content of validation.json: greedy tokens, the largest logits, and where it stops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlcweb.errors import ValidationError
from mlcweb.reference import ArrayStore, PackedWeights, make_validation
from tests.support.llama_cases import CASES, decoder, packed, prompt

CASE = CASES["tied"]
EXPECTED = np.load(Path(__file__).parents[1] / "fixtures" / "llama_logits.npz")["tied"]


def make(steps: int, **options: Any) -> dict[str, Any]:
    weights = PackedWeights(ArrayStore(packed(CASE)), [])
    return make_validation(weights, decoder(CASE), CASE.context, prompt(CASE), steps, **options)


def test_greedy_tokens_and_logits_are_those_of_transformers() -> None:
    actual = make(6, prompt="hello")
    assert json.loads(json.dumps(actual)) == actual
    assert list(actual) == ["prompt", "tokens", "greedy", "steps", "tolerance"]
    assert actual["prompt"] == "hello"
    assert actual["tokens"] == prompt(CASE)
    assert actual["greedy"] == EXPECTED[:6].argmax(axis=1).tolist()
    assert actual["tolerance"].keys() == {"float32", "float16", "int8", "matrix"}
    assert len(actual["steps"]) == 6
    for step, logits in zip(actual["steps"], EXPECTED, strict=False):
        assert step["range"] == pytest.approx(float(np.ptp(logits)), abs=1e-3)
        assert [token for token, _ in step["top"]] == np.argsort(-logits)[:8].tolist()
        assert [logit for _, logit in step["top"]] == pytest.approx(
            np.sort(logits)[:-9:-1].tolist(), abs=1e-3
        )


def test_an_eos_ends_it_and_is_the_last_token() -> None:
    eos = int(EXPECTED[5].argmax())
    expected = EXPECTED[:6].argmax(axis=1).tolist()
    assert expected.index(eos) == 5
    actual = make(12, eos_token_ids=[eos, 9999], decode=lambda ids: " ".join(map(str, ids)))
    assert actual["greedy"] == expected
    assert len(actual["steps"]) == 6
    assert actual["answer"] == " ".join(map(str, expected[:5]))


def test_two_runs_are_the_same() -> None:
    assert json.dumps(make(4, threads=1)) == json.dumps(make(4, threads=2))


def test_lengths_that_do_not_fit() -> None:
    for steps in (0, 473):
        with pytest.raises(ValueError, match="in a context of 512"):
            make(steps)


def test_logits_that_are_not_finite() -> None:
    tensors = packed(CASE)
    tensors["model.norm.weight"] = np.full(64, np.nan, np.float32)
    with pytest.raises(ValidationError, match="at step 0 are not finite"):
        make_validation(PackedWeights(ArrayStore(tensors), []), decoder(CASE), CASE.context, [1, 2], 2)


def test_logits_that_are_all_the_same() -> None:
    tensors = packed(CASE)
    tensors["model.norm.weight"] = np.zeros(64, np.float32)
    with pytest.raises(ValidationError, match="at step 0 are all the same"):
        make_validation(PackedWeights(ArrayStore(tensors), []), decoder(CASE), CASE.context, prompt(CASE), 1)
