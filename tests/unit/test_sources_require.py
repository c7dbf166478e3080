"""The checkpoint's tensors against the architecture's expectation."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.sources import open_checkpoint, require
from tests.support.tiny import TinyLlama, make_llama

NORM = "model.norm.weight"


@pytest.fixture
def change(tmp_path):
    """Opens the tiny model with some tensors replaced, added, or (None) left out."""

    def opened(model=TinyLlama(), **tensors):  # noqa: B008  frozen
        path = make_llama(tmp_path, model) / "model.safetensors"
        weights = load_file(path)
        for name, value in tensors.items():
            weights.pop(name, None)
            if value is not None:
                weights[name] = value
        save_file(weights, path)
        return open_checkpoint(str(tmp_path))

    return opened


def test_exactly_the_expected_tensors_pass(change):
    require(change(), TinyLlama().shapes())


def test_missing_tensors_are_listed_up_to_five(change):
    gone = [name for name in TinyLlama().shapes() if "layers.1" in name]
    checkpoint = change(**dict.fromkeys(gone))
    with pytest.raises(CheckpointError) as caught:
        require(checkpoint, TinyLlama().shapes())
    assert gone[4] in caught.value.message and gone[5] not in caught.value.message
    assert caught.value.message.endswith("and 4 more (9 in all)")


def test_wrong_shape_shows_both(change):
    checkpoint = change(**{NORM: np.ones(63, np.float32)})
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight is \[63\], expected \[64\]"):
        require(checkpoint, TinyLlama().shapes())


def test_extra_tensors_are_an_error(change):
    checkpoint = change(**{"model.layers.0.self_attn.q_norm.weight": np.ones(16, np.float32)})
    with pytest.raises(CheckpointError, match=r"does not use: model\.layers\.0\.self_attn\.q_norm\.weight$"):
        require(checkpoint, TinyLlama().shapes())


def test_recomputed_buffers_are_not_extra(change):
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    require(change(**{name: np.ones(8, np.float32)}), TinyLlama().shapes())


def test_a_stored_copy_of_a_tied_head_is_not_extra_and_an_untied_one_is(change):
    checkpoint = change(**{"lm_head.weight": np.ones((320, 64), np.float32)})
    require(checkpoint, TinyLlama().shapes(), unused=["lm_head.weight"])
    with pytest.raises(CheckpointError, match=r"lm_head\.weight"):
        require(checkpoint, TinyLlama().shapes())


def test_integer_weights_are_unsupported_only_where_they_are_needed(change):
    checkpoint = change(**{NORM: np.ones(64, np.int8)})
    with pytest.raises(UnsupportedError, match=r"model\.norm\.weight is stored as I8"):
        require(checkpoint, TinyLlama().shapes())
    with pytest.raises(
        UnsupportedError, match=r"model\.safetensors: tensor model\.norm\.weight is stored as I8"
    ):
        checkpoint.tensors[NORM].read()
