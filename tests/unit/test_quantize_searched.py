"""The search for scales against the same search written in numpy, in float64, and its edges."""

import ml_dtypes
import numpy as np
import pytest

from mlcweb.errors import CheckpointError
from mlcweb.native.search import ROUNDS, STEPS
from mlcweb.quantize import SCHEMES, get_scheme
from mlcweb.quantize.group import quantize_group
from mlcweb.quantize.searched import Calibration, quantize_searched
from mlcweb.quantize.stream import quantize_params
from mlcweb.quantize.unpack import unpack
from mlcweb.sources import open_checkpoint
from tests.support.llama_params import PARAMS
from tests.support.tiny import TinyLlama, make_llama

# One of each format that is searched.
EVERY = list(
    {s.format: name for name, s in reversed(SCHEMES.items()) if s.quantizes and s.format.searched}.values()
)
RNG = np.random.default_rng(11)


def weights(n=24, k=160):
    """Rows of several shapes: even, with outliers to one side, on a coarse grid, tiny."""
    rows = RNG.standard_normal((n, k)).astype(np.float32)
    rows[::4] *= 1e-3
    rows[1::4, ::17] = np.abs(rows[1::4, ::17]) * 5
    rows[2::4] = np.round(rows[2::4] * 4) / 8 + 0.03
    return rows


def squares(k=160):
    return np.exp(RNG.standard_normal(k)).astype(np.float32)


def error(weight, packed, form, mean_squares):
    """Weighted squared error of each group."""
    restored = unpack(packed, form)[:, : weight.shape[1]]
    pads = -weight.shape[1] % form.group
    each = np.pad((restored.astype(np.float64) - weight) ** 2 * mean_squares, ((0, 0), (0, pads)))
    return each.reshape(len(weight), -1, form.group).sum(-1)


def searched(weight, form, mean_squares):
    """The least error of each group that the rule finds: every step, both ends, least squares, refined."""
    n, k = weight.shape
    pads, top = -k % form.group, form.zero
    share = np.pad(mean_squares / mean_squares.mean(dtype=np.float64) + 1e-3, (0, pads), constant_values=1)
    w = np.pad(weight.astype(np.float64), ((0, 0), (0, pads))).reshape(n, -1, form.group)
    d = share.reshape(-1, form.group)
    high, low = w.max(-1, keepdims=True), w.min(-1, keepdims=True)
    largest = np.where(high >= -low, high, low)
    parts = w / np.where(largest == 0, 1, largest)
    gain, unit, mirrored = (
        np.zeros(largest.shape),
        np.full(largest.shape, 1 / top),
        np.zeros(largest.shape, bool),
    )

    def attempt(units, mirror):
        nonlocal gain, unit, mirrored
        codes = np.clip(np.rint(parts / units), -top - mirror, top + 1 - mirror)
        ab, bb = ((d * codes * x).sum(-1, keepdims=True) for x in (parts, codes))
        found = ab * ab / np.where(bb == 0, 1, bb)
        better = found > gain
        gain = np.where(better, found, gain)
        unit = np.where(better, ab / np.where(bb == 0, 1, bb), unit)
        mirrored = np.where(better, mirror, mirrored)

    for step in STEPS:
        for mirror in (False, True):
            attempt(step / top, np.full(largest.shape, mirror))
    for _ in range(ROUNDS):
        attempt(unit, mirrored)
    scale = (largest * unit * np.where(mirrored, -1, 1)).astype(form.scale).astype(np.float64)
    codes = np.clip(np.rint(w / np.where(scale == 0, 1, scale)), -top, top + 1)
    return ((codes * scale - w) ** 2 * np.pad(mean_squares, (0, pads)).reshape(-1, form.group)).sum(
        -1
    ), scale[..., 0]


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("k", [160, 150])
def test_finds_what_numpy_finds(name, k):
    form, weight, mean_squares = get_scheme(name).format, weights()[:, :k], squares()[:k]
    packed = quantize_searched(weight, form, mean_squares)
    expected, scale = searched(weight, form, mean_squares)
    # float32 may take the other of two nearly equal steps
    np.testing.assert_allclose(error(weight, packed, form, mean_squares), expected, rtol=2e-2, atol=1e-12)
    same = np.isclose(packed[-1].astype(np.float64), scale, rtol=2e-3, atol=0)
    assert same.mean() > 0.97


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_errs_less_than_mlcs_rule_in_every_group(name, dtype):
    form, mean_squares = get_scheme(name).format, squares()
    weight = weights().astype(dtype)
    wide = weight.astype(np.float32)
    ours = error(wide, quantize_searched(weight, form, mean_squares), form, mean_squares)
    mlcs = error(wide, quantize_group(weight, form), form, mean_squares)
    assert np.all(ours <= mlcs * 1.02) and ours.sum() < 0.8 * mlcs.sum()


def test_weights_on_a_grid_of_sixteen_steps_are_kept_exactly():
    codes = RNG.integers(-7, 9, (8, 64))
    codes[:, ::32], codes[:, 1::32] = 8, -7  # both ends
    weight = (codes * np.array([-0.25, 0.5, -2.0, 4.0] * 2)[:, None]).astype(np.float32)
    form = get_scheme("q4f16_1").format
    packed = quantize_searched(weight, form, squares(64))
    np.testing.assert_array_equal(unpack(packed, form), weight)
    assert (packed[1] < 0).any() and (packed[1] > 0).any()


def test_a_column_that_counts_more_errs_less():
    weight, form = weights(64), get_scheme("q4f16_1").format
    loud = np.ones(160, np.float32)
    loud[5::32] = 1000
    for_all, for_loud = (unpack(quantize_searched(weight, form, d), form) for d in (None, loud))
    columns = np.arange(5, 160, 32)
    before, after = (np.square(x - weight)[:, columns].sum() for x in (for_all, for_loud))
    assert after < 0.2 * before


def test_zeros_padding_and_small_scales():
    form = get_scheme("q4f16_1").format
    weight = np.zeros((2, 40), np.float32)
    weight[1] = 1e-9  # no float16
    weight[0, 35] = -3
    codes, scales = quantize_searched(weight, form)
    assert np.all(codes[:, :4] == 0) and np.all(codes[:, 5:] == 0) and np.all(codes[1] == 0)
    np.testing.assert_array_equal(unpack((codes, scales), form)[0, :40], weight[0])
    assert np.all(scales[1] == 0) and scales[0, 0] == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_weights_that_float16_cannot_hold_are_refused(value):
    weight = np.ones((2, 32), np.float32)
    weight[1, 5] = value
    with pytest.raises(CheckpointError, match="float16"):
        quantize_searched(weight, get_scheme("q4f16_1").format)


def test_mean_squares_that_say_nothing_count_all_columns_alike():
    weight, form = weights(), get_scheme("q4f32_1").format
    expected = quantize_searched(weight, form)
    for nothing in (np.zeros(160, np.float32), np.full(160, np.inf, np.float32), np.ones(160, np.float32)):
        got = quantize_searched(weight, form, nothing)
        np.testing.assert_allclose(unpack(got, form), unpack(expected, form), rtol=1e-6)


def test_eight_bits_have_nothing_to_search():
    with pytest.raises(ValueError, match="mlc8"):
        quantize_searched(weights(), get_scheme("q8f32_1").format)


@pytest.mark.parametrize("scheme", ["q4f16_1", "q3f32_1", "q4f16_e8", "q8f16_1"])
def test_the_stream_gives_the_same_bits_whatever_blocks_and_workers(tmp_path, scheme):
    checkpoint = open_checkpoint(str(make_llama(tmp_path, TinyLlama())))
    actual = {param.name: squares(64) for param in PARAMS[:3]}

    def collect(**options):
        stream = quantize_params(checkpoint, PARAMS, get_scheme(scheme), **options)
        return {packed.name: np.concatenate(list(blocks)) for packed, blocks in stream}

    whole = collect(calibration=Calibration(actual))
    for workers, batch_bytes in ((1, 1), (3, 5000)):
        other = collect(calibration=Calibration(actual), workers=workers, batch_bytes=batch_bytes)
        for name, array in whole.items():
            np.testing.assert_array_equal(other[name].view(np.uint8), array.view(np.uint8))
    mlc = collect()
    changed = {name for name in whole if not np.array_equal(whole[name], mlc[name])}
    qkv = {f"{PARAMS[2].name}.{kind}" for kind in ("q_weight", "q_scale")}
    embed = {f"{PARAMS[0].name}.{kind}" for kind in ("q_weight", "q_scale")}
    assert (
        changed == {"q4f16_1": qkv | embed, "q3f32_1": qkv | embed, "q4f16_e8": qkv, "q8f16_1": set()}[scheme]
    )
