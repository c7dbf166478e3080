"""The group quantizer against mlc-llm's own output (tests/fixtures/mlc_group_quant.npz), and its edges."""

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.quantize import SCHEMES, Format, get_scheme
from mlcweb.quantize.group import quantize_group
from mlcweb.quantize.unpack import unpack

GOLDEN = np.load(Path(__file__).parent.parent / "fixtures" / "mlc_group_quant.npz")
CASES = sorted(key.removesuffix(".q_weight") for key in GOLDEN if key.endswith(".q_weight"))
# One of each format that is quantized here.
EVERY = list({scheme.layers: name for name, scheme in reversed(SCHEMES.items()) if scheme.quantizes}.values())


def test_golden_file_covers_mlcs_schemes_and_the_padded_row():
    assert {tuple(case.split(".")[:2]) for case in CASES} == {
        (scheme, shape)
        for scheme in ("q3f16_0", "q3f16_1", "q4f16_0", "q4f16_1", "q4f16_2", "q4f32_1")
        for shape in ("rand", "k250")
    }


@pytest.mark.parametrize("case", CASES)
def test_equals_mlc_bit_for_bit(case):
    scheme, shape, source = case.split(".")
    weight = GOLDEN[f"w.{shape}.{source.removeprefix('from_')}"]
    q_weight, q_scale = quantize_group(weight, get_scheme(scheme).format)
    expected, expected_scale = GOLDEN[f"{case}.q_weight"], GOLDEN[f"{case}.q_scale"]
    if scheme.endswith("_0"):  # transposed, which is all that it is
        expected, expected_scale = (np.ascontiguousarray(array.T) for array in (expected, expected_scale))
    np.testing.assert_array_equal(q_weight, expected, strict=True)
    np.testing.assert_array_equal(q_scale.view(np.uint8), expected_scale.view(np.uint8), strict=True)


def reference(weight, scheme):
    """The rule written out with numpy's own float16 and float32 arithmetic, weight by weight."""
    w, form = weight.astype(scheme.activation), scheme.format
    n, k = w.shape
    size, groups, top = form.group, -(-k // form.group), w.dtype.type(2 ** (form.bits - 1) - 1)
    planes = [np.zeros((n, groups * size // (32 // width)), np.uint32) for width in form.planes]
    q_scale = np.zeros((n, groups), w.dtype)
    for row in range(n):
        for col in range(k):
            group = w[row, col // size * size : (col // size + 1) * size]
            scale = np.abs(group).max() / top
            q_scale[row, col // size] = scale
            with np.errstate(all="ignore"):
                value = np.rint(w[row, col] / scale + top)
            code = int(np.fmin(np.fmax(value, 0), 2 * top))
            for plane, width in zip(planes, form.planes, strict=True):
                plane[row, col // (32 // width)] |= np.uint32(
                    code % 2**width << width * (col % (32 // width))
                )
                code >>= width
    return *planes, q_scale


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("magnitude", [1.0, 1e-3, 3e-7, 6e4])
def test_equals_scalar_arithmetic_at_every_magnitude(name, magnitude):
    rng = np.random.default_rng(7)
    weight = (rng.uniform(-1, 1, (6, 70)) * magnitude).astype(get_scheme(name).activation)
    weight[0] = 0
    weight[1, ::2] = 0
    weight[2, 3] = -0.0
    expected = reference(weight, get_scheme(name))
    same(quantize_group(weight, get_scheme(name).format), expected)


def same(got, expected):
    for array, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(array, other)


@pytest.mark.slow
@pytest.mark.parametrize("source", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("magnitude", [1.0, 1e-3, 1e-5, 3e-7, 6e4])
def test_with_cast_the_weight_counts_as_cast_first(source, magnitude):
    """Also where float16 has no normal value left, and for ties between two float16."""
    rng = np.random.default_rng(8)
    weight = (rng.uniform(-1, 1, (16, 96)) * magnitude).astype(source)
    weight[0, :32] = (np.float32(magnitude) * (1 + np.arange(32) * 2.0**-11)).astype(source)
    for name in EVERY:
        scheme = get_scheme(name)
        cast_first = weight.astype(np.float32).astype(scheme.activation)
        got = quantize_group(weight, scheme.format, cast=True)
        same(got, quantize_group(cast_first, scheme.format))


def test_every_float16_is_read_and_every_scale_written():
    """A group each of one float16 value and zeros: its scale is that value / 7, or what stands for 7."""
    every = np.arange(0x7C00, dtype=np.uint16).view(np.float16)
    weight = np.zeros((len(every), 32), np.float16)
    weight[:, 5] = -every
    for name in EVERY:
        activation = np.dtype(get_scheme(name).activation).type
        expected = every.astype(activation) / activation(2 ** (get_scheme(name).format.bits - 1) - 1)
        np.testing.assert_array_equal(quantize_group(weight, get_scheme(name).format)[-1][:, 0], expected)


def test_an_array_need_not_be_aligned():
    buffer = np.random.default_rng(9).standard_normal(4 * 64 + 3).astype(np.float32)
    expected = quantize_group(buffer[3:].reshape(4, 64).copy(), get_scheme("q4f32_1").format)
    for start in range(3):
        buffer[start : start + 256] = (
            buffer[3:].copy() if start == 0 else buffer[start - 1 : start + 255].copy()
        )
        got = quantize_group(buffer[start : start + 256].reshape(4, 64), get_scheme("q4f32_1").format)
        np.testing.assert_array_equal(got[0], expected[0])


def test_zero_groups_and_padding_have_scale_and_codes_zero():
    weight = np.ones((1, 40), np.float32)
    weight[0, :32] = 0
    q_weight, q_scale = quantize_group(weight, get_scheme("q4f32_1").format)
    assert q_weight.tolist() == [[0, 0, 0, 0, 0xEEEEEEEE, 0, 0, 0]]
    assert q_scale.tolist() == [[0, np.float32(1) / np.float32(7)]]


def test_bfloat16_is_quantized_as_the_float32_it_widens_to():
    weight = np.random.default_rng(1).standard_normal((5, 64), np.float32).astype(ml_dtypes.bfloat16)
    for name in ("q4f16_1", "q4f32_1"):
        got = quantize_group(weight, get_scheme(name).format)
        expected = quantize_group(weight.astype(np.float32), get_scheme(name).format)
        np.testing.assert_array_equal(got[0], expected[0])
        np.testing.assert_array_equal(got[1], expected[1])


@pytest.mark.parametrize("name", [name for name in EVERY if SCHEMES[name].activation == "float32"])
@pytest.mark.parametrize("k", [32, 40, 250, 256])
def test_dequantized_is_within_half_a_step(k, name):
    scheme, weight = get_scheme(name), np.random.default_rng(2).standard_normal((9, k), np.float32)
    packed = quantize_group(weight, scheme.format)
    restored = unpack(packed, scheme.format)[:, :k]
    assert restored.shape == weight.shape and restored.dtype == np.float32
    steps = np.repeat(packed[-1], scheme.format.group, axis=1)[:, :k]
    assert np.all(np.abs(restored - weight) <= steps * 0.5001)
    largest = np.abs(weight).argmax(axis=1)
    rows = np.arange(9)
    np.testing.assert_allclose(restored[rows, largest], weight[rows, largest], rtol=1e-6)


def test_large_matrices_are_the_same_in_blocks():
    weight = np.random.default_rng(3).standard_normal((700, 512), np.float32)
    whole = quantize_group(weight, get_scheme("q4f16_1").format)
    rows = [quantize_group(weight[i : i + 1], get_scheme("q4f16_1").format) for i in (0, 255, 256, 699)]
    for row, i in zip(rows, (0, 255, 256, 699), strict=True):
        np.testing.assert_array_equal(row[0][0], whole[0][i])
        np.testing.assert_array_equal(row[1][0], whole[1][i])


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_weights_that_float16_cannot_hold_are_refused(value):
    weight = np.ones((2, 32), np.float32)
    weight[1, 5] = value
    with pytest.raises(CheckpointError, match="float16"):
        quantize_group(weight, get_scheme("q4f16_1").format)


def test_unknown_scheme_names_the_nearest():
    with pytest.raises(UnsupportedError, match=r"known: q4f16_1, q4f32_1, q4f16_e8, .*gguf") as caught:
        get_scheme("Q4F16")
    assert caught.value.hint == "Did you mean q4f16_1?"


def test_schemes_that_leave_the_vocabulary_or_everything_as_it_is():
    stored = {
        name: get_scheme(name).stored("any", "vocab") for name in ("q4f16_1", "q4f16_2", "q4f32_e8", "q0f16")
    }
    assert {name: form if isinstance(form, str) else form.bits for name, form in stored.items()} == {
        "q4f16_1": 4,
        "q4f16_2": "float16",
        "q4f32_e8": 8,
        "q0f16": "float16",
    }
    others = [get_scheme(name).stored("any") for name in ("q4f16_1", "q4f16_2", "q4f32_e8")]
    assert [form.bits for form in others if not isinstance(form, str)] == [4, 4, 4]
    assert get_scheme("q0f16").stored("any") == "float16"
    with pytest.raises(ValueError, match="q0f16 does not quantize"):
        quantize_group(np.ones((1, 32), np.float32), get_scheme("q0f16").format)


@pytest.mark.parametrize(
    ("planes", "options", "why"),
    [
        ((5,), {}, "1, 2 or 4 bits"),
        ((4, 8), {}, "1, 2 or 4 bits"),
        ((3, 1), {"group": 40}, "1, 2 or 4 bits"),
        ((4, 2, 1), {}, "one plane or two"),
        ((8,), {"levels": (0, 1)}, "a table in one of 4 bits"),
        ((3,), {"group": 32}, "32 codes do not begin and end with words"),
        ((4,), {"group": 20}, "20 codes do not begin and end with words"),
    ],
)
def test_formats_that_no_reader_reads_are_refused(planes, options, why):
    with pytest.raises(ValueError, match=f"odd: .*{why}"):
        Format("odd", planes, **options)
