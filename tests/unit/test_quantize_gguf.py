"""GGUF's types, repacked: the same values as the gguf library's, bit for bit, and no more bytes than 2 %."""

from __future__ import annotations

import numpy as np
import pytest

from bench.synthetic.gguf_types import QUANTIZED, block_size, draw, values
from mlcweb.quantize.formats import GGUF_FORMATS
from mlcweb.quantize.pack import pack_gguf
from mlcweb.quantize.unpack import e8m0_half, unpack
from mlcweb.reference import ArrayStore, PackedWeights


def bits(array: np.ndarray) -> np.ndarray:
    """Of zeros the sign may differ: a minimum of 0 is added, where the library subtracts one."""
    return np.where(array == 0, np.float32(0), array).view(np.uint32)


def widths(kind: str) -> list[int]:
    block = block_size(kind)
    return [block, 3 * block, 20 * block]


@pytest.mark.parametrize("kind", QUANTIZED)
def test_every_value_is_the_librarys(kind: str) -> None:
    form = GGUF_FORMATS[kind]
    for k in widths(kind):
        raw = draw(kind, 7, k, np.random.default_rng(k))
        arrays = pack_gguf(raw, form)
        assert np.array_equal(bits(unpack(arrays, form)), bits(values(raw, kind)))
        *planes, scales = arrays
        assert [plane.shape for plane in planes] == [(7, form.words(k, i)) for i in range(len(form.planes))]
        expected = (7, form.groups(k)) if form.lone else (7, form.scale_words(k))
        assert scales.shape == expected


@pytest.mark.parametrize("kind", QUANTIZED)
def test_it_takes_the_files_bytes_and_at_most_a_50th_more(kind: str) -> None:
    raw = draw(kind, 16, 2048, np.random.default_rng(1))
    packed = sum(array.nbytes for array in pack_gguf(raw, GGUF_FORMATS[kind]))
    assert raw.nbytes <= packed <= 1.02 * raw.nbytes


@pytest.mark.slow
@pytest.mark.parametrize("kind", QUANTIZED)
@pytest.mark.parametrize("tokens", [1, 5])
def test_the_host_multiplies_with_them(kind: str, tokens: int) -> None:
    form, k = GGUF_FORMATS[kind], 5 * block_size(kind)
    raw, rng = draw(kind, 9, k, np.random.default_rng(2)), np.random.default_rng(3)
    arrays = dict(zip((f"a.{name}" for name in form.tensors), pack_gguf(raw, form), strict=True))
    weights = PackedWeights(ArrayStore(arrays), [form])
    assert "a" in weights and weights.shape("a") == (9, k)
    exact = values(raw, kind)
    assert np.array_equal(bits(weights.rows("a", 2, 7)), bits(exact[2:7]))
    x = rng.standard_normal((tokens, k)).astype(np.float32)
    actual = weights.products("a", 1, 8, x)
    wide = exact[1:8].astype(np.float64)
    assert np.all(np.abs(actual - wide @ x.T) <= 2e-6 * (np.abs(wide) @ np.abs(x.T)))


def test_bfloat16_is_held_in_pairs() -> None:
    raw = draw("BF16", 5, 64, np.random.default_rng(4))
    weights = PackedWeights(ArrayStore({"a.bf16": raw.view(np.uint32)}), [])
    assert weights.shape("a") == (5, 64)
    assert np.array_equal(weights.rows("a", 1, 4), values(raw, "BF16")[1:4])


def test_exponents_are_scales_from_the_smallest_to_the_largest() -> None:
    exponents = np.array([0, 1, 2, 127, 254], np.uint32)
    assert e8m0_half(exponents).tolist() == [2.0**-128, 2.0**-127, 2.0**-126, 0.5, 2.0**126]
