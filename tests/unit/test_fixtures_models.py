"""The checkpoints that families are tested with are those that transformers was given, and our sources read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlcweb.models import architecture
from mlcweb.quantize import get_scheme
from mlcweb.quantize.group import quantize_group
from mlcweb.quantize.unpack import unpack
from mlcweb.sources import open_checkpoint
from mlcweb.sources.require import IGNORED
from tests.fixtures.models.case import PROMPT, STEPS, Case
from tests.fixtures.models.cases import BY_NAME, CASES
from tests.fixtures.models.checkpoint import drawn, make_checkpoint, text_weights, weights
from tests.fixtures.models.dequantize import dequantized
from tests.fixtures.models.expected import LOGITS, load
from tests.fixtures.models.stacks import MXFP4, separate


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_checkpoints_are_read_as_they_were_drawn(case: Case, tmp_path: Path) -> None:
    weights(case)  # which checks that they are those of the expected logits
    expected = separate(text_weights(case))
    checkpoint = open_checkpoint(str(make_checkpoint(tmp_path / case.name, case)), images=False)
    if case.inside is None:
        assert checkpoint.config == {**case.config, **({"quantization_config": MXFP4} if case.mxfp4 else {})}
    config_class = architecture(case.text)[0]
    assert config_class.from_hf(checkpoint.config) == config_class.from_hf(case.text)
    buffers = {name for name in checkpoint.tensors if case.bare + name not in expected}
    assert bool(buffers) == case.buffers
    assert all(any(Path(name).match(pattern) for pattern in IGNORED) for name in buffers)
    for name, array in expected.items():
        name = name.removeprefix(case.bare)
        assert checkpoint.tensors[name].shape == array.shape
    if case.shards > 1:
        assert len(list((tmp_path / case.name).glob("*.safetensors"))) == case.shards


def test_every_case_has_its_logits_and_no_other_is_kept() -> None:
    assert list(drawn()) == list(BY_NAME) and len(BY_NAME) == len(CASES)
    assert {path.stem for path in LOGITS.iterdir()} == set(BY_NAME)


@pytest.mark.parametrize("scheme", ["q0f32", "q4f32_1", "q4f16_1"])
def test_answers_are_greedy(scheme: str) -> None:
    for case in CASES:
        actual = load(case, scheme)
        assert actual.greedy[:STEPS] == actual.tokens[PROMPT:]


@pytest.mark.parametrize("scheme", ["q4f32_1", "q4f16_1"])
@pytest.mark.parametrize("name", ["llama-3.1", "llama-linear", "gpt2"])
def test_two_quantizers_agree(name: str, scheme: str) -> None:
    """That of the expected logits shares no code with the compiler's. Rows of gpt2's layers are columns on disk."""
    case = BY_NAME[name]
    drawn_weights = weights(case)
    actual = dequantized(case, drawn_weights, scheme)
    for key in [key for key, array in drawn_weights.items() if array.ndim == 2 and "wpe" not in key]:
        turned = key.startswith("h.")
        matrix = drawn_weights[key].T if turned else drawn_weights[key]
        form = get_scheme(scheme).format
        arrays = quantize_group(np.ascontiguousarray(matrix), form, cast=True)
        ours = unpack(arrays, form)[:, : matrix.shape[1]]
        np.testing.assert_array_equal(actual[key].T if turned else actual[key], ours)
