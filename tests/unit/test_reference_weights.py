"""Dequantization of packed weights, and products with them block by block."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlcweb.bundle import BundleWriter
from mlcweb.errors import BundleError
from mlcweb.quantize.formats import Format, mlc_format
from mlcweb.quantize.unpack import unpack
from mlcweb.reference import ArrayStore, PackedWeights, linear
from mlcweb.reference.linear import Linear

GROUP_SIZES = {3: 40, 4: 32, 8: 32}


def form_of(bits: int) -> Format:
    return mlc_format((bits,), "float32", GROUP_SIZES[bits])


def dequantized(codes: np.ndarray, scales: np.ndarray, bits: int = 4) -> np.ndarray:
    return unpack((codes, scales), form_of(bits))


def codes_and_scales(
    rows: int, width: int, scale: str = "float32", bits: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 2**32, (rows, width // (32 // bits)), dtype=np.uint32)
    return codes, (rng.random((rows, width // GROUP_SIZES[bits])) / 8).astype(scale)


def slowly(codes: np.ndarray, scales: np.ndarray, bits: int = 4) -> np.ndarray:
    """(code - max_code) * scale, one value at a time."""
    each, top = 32 // bits, 2 ** (bits - 1) - 1
    out = np.empty((codes.shape[0], codes.shape[1] * each), np.float32)
    for n, k in np.ndindex(*out.shape):
        code = int(codes[n, k // each]) >> (bits * (k % each)) & 2**bits - 1
        out[n, k] = np.float32(code - top) * np.float32(scales[n, k // GROUP_SIZES[bits]])
    return out


def test_the_lowest_nibble_comes_first() -> None:
    codes = np.array([[0xFEDCBA98, 0x76543210, 0, 0]], np.uint32)
    actual = dequantized(codes, np.array([[2.0]], np.float32))
    assert actual.dtype == np.float32
    assert actual[0, :16].tolist() == [2, 4, 6, 8, 10, 12, 14, 16, -14, -12, -10, -8, -6, -4, -2, 0]
    assert actual[0, 16:].tolist() == [-14] * 16


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("scale", ["float32", "float16"])
def test_every_value_is_the_code_less_the_largest_times_the_scale(scale: str, bits: int) -> None:
    codes, scales = codes_and_scales(5, 3 * GROUP_SIZES[bits], scale, bits)
    assert np.array_equal(dequantized(codes, scales, bits), slowly(codes, scales, bits))


def test_scales_must_fit() -> None:
    codes, scales = codes_and_scales(4, 96)
    with pytest.raises(ValueError, match="could not be broadcast"):
        dequantized(codes, scales[:, :2])


def test_parameters_by_name() -> None:
    codes, scales = codes_and_scales(4, 64)
    store = ArrayStore({"a.q_weight": codes, "a.q_scale": scales, "b.weight": np.arange(3, dtype=np.float16)})
    weights = PackedWeights(store, [form_of(4)])
    assert "a" in weights and "b" in weights and "c" not in weights
    assert weights.shape("a") == (4, 64)
    assert weights.shape("b") == (3,)
    assert np.array_equal(weights.rows("a", 1, 3), slowly(codes, scales)[1:3])
    assert weights.rows("b", 1, 3).tolist() == [1, 2]
    assert weights.rows("b", 1, 3).dtype == np.float32
    for read in (lambda: weights.shape("c"), lambda: weights.rows("c", 0, 1)):
        with pytest.raises(BundleError, match="no parameter 'c'"):
            read()


@pytest.mark.parametrize(("inputs", "bits"), [(96, 4), (80, 4), (84, 3), (84, 8)])
@pytest.mark.parametrize("tokens", [1, 5])
def test_products_by_blocks(monkeypatch: pytest.MonkeyPatch, tokens: int, inputs: int, bits: int) -> None:
    """Seven rows in blocks of two; 80 inputs leave half a group of padding, which must not count."""
    width = -(-inputs // GROUP_SIZES[bits]) * GROUP_SIZES[bits]
    monkeypatch.setattr(linear, "BATCH_WEIGHTS", 2 * width + 1)
    codes, scales = codes_and_scales(7, width, bits=bits)
    x = np.random.default_rng(4).standard_normal((tokens, inputs)).astype(np.float32)
    store = ArrayStore({"a.q_weight": codes, "a.q_scale": scales})
    actual = Linear(PackedWeights(store, [form_of(bits)]), 2)(x, "a")
    expected = x.astype(np.float64) @ slowly(codes, scales, bits).astype(np.float64)[:, :inputs].T
    assert actual.shape == (tokens, 7)
    assert np.allclose(actual, expected, atol=1e-5)


def test_weights_of_a_bundle_being_written_can_be_read(tmp_path: Path) -> None:
    codes, scales = codes_and_scales(40, 96, "float16")
    with BundleWriter(tmp_path / "b", chunk_bytes=256) as writer:
        with writer.weights() as tensors:
            tensors.add_tensor("a.q_weight", codes)
            tensors.add_tensor("a.q_scale", scales)
        weights = PackedWeights(writer.stored_weights(), [form_of(4)])
        assert np.array_equal(weights.rows("a", 0, 40), slowly(codes, scales))
        assert np.array_equal(weights.rows("a", 17, 18), slowly(codes, scales)[17:18])


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["float32", "float16"])
@pytest.mark.parametrize("groups", [1, 18, 64])
@pytest.mark.parametrize("tokens", [1, 2, 9])
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_products_are_dequantized_on_the_way(bits: int, tokens: int, groups: int, scale: str) -> None:
    width = groups * GROUP_SIZES[bits]
    codes, scales = codes_and_scales(9, width, scale, bits)
    x = np.random.default_rng(5).standard_normal((tokens, width)).astype(np.float32)
    weights = PackedWeights(ArrayStore({"a.q_weight": codes, "a.q_scale": scales}), [form_of(bits)])
    assert weights.shape("a") == (9, width)
    exact = slowly(codes, scales, bits)[1:8].astype(np.float64)
    actual = weights.products("a", 1, 8, x)
    assert actual.shape == (7, tokens)
    assert np.all(np.abs(actual - exact @ x.T) <= 1e-6 * (np.abs(exact) @ np.abs(x.T)))


def test_products_with_unquantized_weights() -> None:
    rows = np.random.default_rng(6).standard_normal((5, 48)).astype(np.float16)
    x = np.random.default_rng(7).standard_normal((3, 48)).astype(np.float32)
    actual = PackedWeights(ArrayStore({"a.weight": rows}), []).products("a", 0, 5, x)
    assert np.allclose(actual, rows.astype(np.float64) @ x.T, atol=1e-4)
