"""The calibration run: its mean squares against the reference fed token by token, its text, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from mlcweb.calibrate import calibrate, own_text, read_text
from mlcweb.calibrate.run import cut, measure
from mlcweb.calibrate.text import SPAN, spread
from mlcweb.errors import SourceError
from mlcweb.models import architecture, declare_model
from mlcweb.quantize import get_scheme
from mlcweb.quantize.searched import Calibration
from mlcweb.quantize.stream import quantize_params
from mlcweb.reference import ArrayStore, HostModel, PackedWeights
from mlcweb.reference.checkpoint_weights import CheckpointWeights
from mlcweb.sources import open_checkpoint, with_matrices, with_prefix
from mlcweb.sources.checkpoint import LazyTensor
from tests.fixtures.models.cases import CASES
from tests.fixtures.models.checkpoint import make_checkpoint
from tests.support.tiny import TinyLlama, make_llama

TOKENS = [int(token) for token in np.random.default_rng(3).integers(0, 256, 150)]


@pytest.fixture(scope="module", params=[True, False])
def opened(request, tmp_path_factory):
    tiny = TinyLlama(tied=request.param, dtype="float32")
    checkpoint = open_checkpoint(str(make_llama(tmp_path_factory.mktemp("m"), tiny)))
    config_class, model_class = architecture(checkpoint.config)
    return checkpoint, declare_model(model_class, config_class.from_hf(checkpoint.config), "q4f32_1")


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
    actual = measure(checkpoint, model, TOKENS, context, start=start).mean_squares
    expected = by_token(checkpoint, model, sequences, context)
    head = "model.embed_tokens" if model.config.tie_word_embeddings else "lm_head"
    assert set(actual) == set(expected) and head in actual
    for name, squares in expected.items():
        assert actual[name].dtype == np.float32
        np.testing.assert_allclose(actual[name], squares, rtol=1e-4, err_msg=name)


def test_layers_that_read_anothers_cache_read_their_own_sequences(tmp_path):
    (case,) = (case for case in CASES if case.name == "gemma-4-e2b")
    checkpoint = open_checkpoint(str(make_checkpoint(tmp_path, case)), images=False)
    config_class, model_class = architecture(checkpoint.config)
    model = declare_model(model_class, config_class.from_hf(checkpoint.config), "q4f32_1")
    tokens = [token % case.vocab_size for token in TOKENS[:70]]
    expected = by_token(checkpoint, model, cut(tokens, [], model, 40), 40)
    actual = measure(checkpoint, model, tokens, 40).mean_squares
    assert set(actual) == set(expected)
    for name, squares in expected.items():
        np.testing.assert_allclose(actual[name], squares, rtol=1e-3, err_msg=name)


def test_norms_of_one_matrix_are_known(opened):
    checkpoint, model = opened
    layers = range(model.config.num_hidden_layers)
    expected = {
        (f"model.layers.{i}.{norm}",): (f"model.layers.{i}.{matrix}",)
        for i in layers
        for norm, matrix in (
            ("input_layernorm", "self_attn.qkv_proj"),
            ("post_attention_layernorm", "mlp.gate_up_proj"),
        )
    }
    if not model.config.tie_word_embeddings:  # a tied head's columns are the embedding's, too
        expected[("model.norm",)] = ("lm_head",)
    assert dict(measure(checkpoint, model, TOKENS, 64).norms) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(case.name for case in CASES))
def test_norms_of_every_architecture(tmp_path, name):
    """Where a norm is folded into the matrix after it, the float model answers the same."""
    (case,) = (case for case in CASES if case.name == name)
    checkpoint = open_checkpoint(str(make_checkpoint(tmp_path / name, case)), images=False)
    config_class, model_class = architecture(checkpoint.config)
    config = config_class.from_hf(checkpoint.config)
    model = declare_model(model_class, config, "q4f32_1")
    checkpoint = with_matrices(with_prefix(checkpoint, model.prefix))
    tokens = [token % config.vocab_size for token in TOKENS[:40]]
    actual = measure(checkpoint, model, tokens, 64)
    rng = np.random.default_rng(5)
    factors = {}
    for norms, matrices in actual.norms:
        each = np.exp(rng.standard_normal(actual.mean_squares[matrices[0]].shape) / 4).astype(np.float32)
        factors |= dict.fromkeys(matrices, each) | dict.fromkeys(norms, 1 / each)
    weights = CheckpointWeights(checkpoint, model.params())
    logits = [
        HostModel(model, store, 64, 64).feed(tokens[:20]) for store in (weights, Scaled(weights, factors))
    ]
    np.testing.assert_allclose(logits[1], logits[0], atol=2e-4 * np.ptp(logits[0]))


class Scaled:
    """Weights whose columns are multiplied by factors."""

    def __init__(self, weights, factors):
        self.weights, self.factors = weights, factors
        self.shape = weights.shape

    def rows(self, name, start, stop):
        rows = self.weights.rows(name, start, stop)
        return rows * self.factors[name] if name in self.factors else rows

    def products(self, name, start, stop, x):
        return self.rows(name, start, stop) @ x.T


def test_factors_are_kept_where_they_help(opened):
    """A norm with a few large weights makes columns that count for more than the others."""
    checkpoint, model = opened
    name = "model.layers.1.input_layernorm.weight"
    large = np.ones(64, np.float32)
    large[::9] = 8
    loud = LazyTensor(name, (64,), "float32", lambda first, last: large[first:last])
    checkpoint = replace(checkpoint, tensors={**checkpoint.tensors, name: loud})
    scheme = get_scheme("q4f32_1")
    actual = calibrate(checkpoint, model, scheme, TOKENS, 64)
    matrix, norm = "model.layers.1.self_attn.qkv_proj", "model.layers.1.input_layernorm"
    assert np.all(actual.factors[matrix][::9] > 1)
    np.testing.assert_allclose(actual.factors[norm] * actual.factors[matrix], 1, rtol=1e-6)
    plain = measure(checkpoint, model, TOKENS, 64).mean_squares[matrix]
    np.testing.assert_allclose(
        actual.mean_squares[matrix] * np.square(actual.factors[matrix]), plain, rtol=1e-5
    )

    def stored(calibration):
        """What a reader makes of the matrix, its columns times the norm."""
        params = [param for param in model.params() if param.name in (matrix, norm)]
        tensors = {
            tensor.name: np.concatenate(list(blocks))
            for tensor, blocks in quantize_params(checkpoint, params, scheme, calibration=calibration)
        }
        weights = PackedWeights(ArrayStore(tensors), scheme.formats)
        return weights.rows(matrix, 0, 128) * weights.rows(norm, 0, 64)

    exact = CheckpointWeights(checkpoint, model.params()).rows(matrix, 0, 128) * large
    errors = [
        float(np.square(stored(calibration) - exact).sum(0) @ (plain / np.square(large)))
        for calibration in (actual, Calibration({matrix: plain}), None)
    ]
    assert errors[0] < 0.95 * errors[1] < 0.8 * errors[2]


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
    monkeypatch.setattr("mlcweb.calibrate.text.MAX_BYTES", 3)
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
