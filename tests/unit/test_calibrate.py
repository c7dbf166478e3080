"""The calibration run: its mean squares against the reference fed token by token, its text, and what is refused."""

import numpy as np
import pytest

from mlcweb.calibrate import calibrate, own_text, read_text
from mlcweb.calibrate.run import cut
from mlcweb.calibrate.text import SPAN, spread
from mlcweb.calibrate.weights import CheckpointWeights
from mlcweb.errors import SourceError
from mlcweb.models import architecture, outline_of
from mlcweb.reference import HostModel
from mlcweb.sources import open_checkpoint
from tests.tiny import TinyLlama, make_llama

TOKENS = [int(token) for token in np.random.default_rng(3).integers(0, 256, 150)]


@pytest.fixture(scope="module", params=[True, False])
def opened(request, tmp_path_factory):
    tiny = TinyLlama(tied=request.param, dtype="float32")
    checkpoint = open_checkpoint(str(make_llama(tmp_path_factory.mktemp("m"), tiny)))
    config_class, model_class = architecture(checkpoint.config)
    return checkpoint, outline_of(model_class, config_class.from_hf(checkpoint.config), "q4f32_1")


def by_token(checkpoint, model, sequences, context):
    """The same sums from products as they are made, one token at a time, with the KV cache."""
    sums, counts = {}, {}
    for sequence in sequences:
        host = HostModel(model, CheckpointWeights(checkpoint, model.params()), len(sequence), context)
        multiply = host._ops._linear

        def spy(x, name, part=None, multiply=multiply):
            sums[name] = sums.get(name, 0) + np.square(x.astype(np.float64)).sum(0)
            counts[name] = counts.get(name, 0) + len(x)
            return multiply(x, name, part)

        host._ops._linear = spy
        for token in sequence:
            host.feed([token])
    return {name: total / counts[name] for name, total in sums.items()}


def test_mean_squares_are_those_of_every_product(opened):
    checkpoint, model = opened
    context, start = 64, [1, 2, 3]
    sequences = cut(TOKENS, start, model, context)
    assert len(sequences) == 3 and all(sequence[:3] == start for sequence in sequences)
    assert [token for sequence in sequences for token in sequence[3:]] == TOKENS
    found = calibrate(checkpoint, model, TOKENS, context, start=start)
    expected = by_token(checkpoint, model, sequences, context)
    head = "model.embed_tokens" if model.config.tie_word_embeddings else "lm_head"
    assert set(found) == set(expected) and head in found
    for name, squares in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], squares, rtol=1e-4, err_msg=name)


def test_weights_are_the_checkpoints_in_the_models_order(opened):
    checkpoint, model = opened
    weights = CheckpointWeights(checkpoint, model.params())
    tensors = {name: tensor.read().astype(np.float32) for name, tensor in checkpoint.tensors.items()}
    for param in model.params():
        whole = np.concatenate([tensors[name] for name in param.sources])
        if param.order is not None:
            whole = whole[param.order]
        np.testing.assert_array_equal(weights.rows(param.name, 0, param.shape[0]), whole)
        middle = weights.rows(param.name, 5, param.shape[0] - 7)
        np.testing.assert_array_equal(middle, whole[5:-7])


def test_tokens_come_from_all_over_a_long_text():
    assert spread(range(100), 200) == list(range(100))
    chosen = spread(range(10_000), 1024)
    assert len(chosen) == 1024 and chosen[:SPAN] == list(range(SPAN)) and chosen[-1] == 9_999
    assert len(set(chosen)) == len(chosen)


def test_a_large_model_runs_fewer_tokens(opened, monkeypatch):
    _, model = opened
    lengths = []
    for products in (10**12, 1000 * model.weight_count, 1):
        monkeypatch.setattr("mlcweb.calibrate.run._PRODUCTS", products)
        lengths.append(sum(map(len, cut(range(9000), [], model, 512))))
    assert lengths == [2048, 896, 512]


def test_the_own_text_has_languages_code_dialogue_and_data():
    text = own_text().content
    assert 15_000 < len(text.encode()) < 30_000
    parts = ["def ", "assistant:", '"order": 20417', "SELECT", "bibliothèque", "Großvater", "¿", "\u0412"]
    parts += [
        "\u3002",
        "\u306e",
        "\u0642",
        "\u0939",
        "\uc2dc",
    ]  # Chinese, Japanese, Arabic, Hindi, Korean
    assert [part for part in parts if part not in text] == []


def test_a_text_that_is_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr("mlcweb.calibrate.text.MOST_BYTES", 3)
    (tmp_path / "text.txt").write_text("four")
    with pytest.raises(SourceError, match="more than") as caught:
        read_text(tmp_path / "text.txt")
    assert "give a part" in caught.value.hint


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b" \n\t", "is empty"), (b"abc \xff\xfe", "UTF-8.*byte 4"), (None, "cannot be read")],
)
def test_texts_that_are_none(tmp_path, content, message):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        read_text(path)


def test_a_folder_is_no_text(tmp_path):
    with pytest.raises(SourceError, match="cannot be read"):
        read_text(tmp_path)
