"""Group quantization in one pass over the checkpoint's bytes: cast, largest, scale, codes, packing.

float16 arithmetic is done in float32 and rounded after each operation, which gives the same bits (a single
operation rounded twice is exact when 24 >= 2 * 11 + 2), also on CPUs that have no float16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.kernels.builder import Expr, KernelBuilder, bits, dynamic, f32, kernel, select, u32
from mlcweb.native.function import Native, argument, built_once, compile_native
from mlcweb.native.vector import constants, fold, keep, repeat

_HALF_MAX = 0x477FE000  # float16's largest value, 65504, as float32 bits
_HALF_NORMAL = 0x38800000  # its smallest normal value, 2**-14
_INFINITY = 0x7F800000
_ROUND = 12582912.0  # 1.5 * 2**23: added to a small float32, it leaves the rounded integer in the low bits


def quantize(
    weight: npt.NDArray[Any], bits_each: int, group_size: int, activation: str, *, cast: bool
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[Any]]:
    """Codes of ``bits_each`` bits, uint32 [N, words], and scales [N, K / group_size] in ``activation``.

    K is a multiple of ``group_size``. ``weight`` is float32, float16 or bfloat16; with ``cast`` it counts as if it
    had been cast to ``activation`` first. A group with a weight that is not finite in ``activation`` gets an infinite
    scale or NaN.
    """
    n, groups = weight.shape[0], weight.shape[1] // group_size
    kind = _Kind(bits_each, group_size, activation == "float16")
    source = weight.dtype.name
    raw = np.ascontiguousarray(weight)
    if source != "float32":
        raw = raw.view(np.uint16)
    codes = np.empty((n, groups * kind.words), np.uint32)
    scales = np.empty((n, groups), np.uint16 if kind.half else np.float32)
    _built(source, kind, cast, groups)(raw, codes, scales)
    return codes, scales.view(activation)


@dataclass(frozen=True)
class _Kind:
    """What of a scheme makes another function; a group is one vector of ``lanes``."""

    bits: int
    lanes: int
    half: bool

    @property
    def top(self) -> int:
        """The largest magnitude that a code stands for."""
        return (1 << (self.bits - 1)) - 1

    @property
    def codes_per_word(self) -> int:
        return 32 // self.bits

    @property
    def words(self) -> int:
        """A group's words."""
        return self.lanes // self.codes_per_word


@built_once
def _built(source: str, kind: _Kind, cast: bool, groups: int) -> Native:
    return compile_native("quantize", _quantize(source, kind, cast, groups))


@kernel
def _quantize(source: str, kind: _Kind, cast: bool, groups: int) -> tirx.PrimFunc:
    half, lanes, words = kind.half, kind.lanes, kind.words
    k = KernelBuilder("quantize")
    n = dynamic("n")
    stored = "float32" if source == "float32" else "uint16"
    weight = argument(k, "weight", (n, groups * lanes), stored)
    codes = argument(k, "codes", (n, groups * words), "uint32")
    scales = argument(k, "scales", (n, groups), "uint16" if half else "float32")
    narrow = half and (cast or source == "float16")
    with k.loop(n) as row, k.loop(groups) as g:
        values = _widen(k, weight[row, T.Ramp(g * lanes, 1, lanes)], source, lanes)
        if narrow and source != "float16":
            values = _round_half(k, values, lanes)
        magnitudes = T.bitwise_and(bits(f"uint32x{lanes}", values), repeat(u32(0x7FFFFFFF), lanes))
        scale = _scale(k, fold(k, magnitudes, T.max, "uint32", lanes), kind)
        k.store(scales, [row, g], _half_bits(scale) if half else scale)
        k.store(
            codes, [row, T.Ramp(g * words, 1, words)], _pack(k, _codes(k, values, scale, kind, narrow), kind)
        )
    return k.finish()


def _widen(k: KernelBuilder, raw: Expr, source: str, lanes: int) -> Any:
    """A group's values as float32."""
    words, floats = f"uint32x{lanes}", f"float32x{lanes}"
    if source == "float32":
        return keep(k, raw, "float32", lanes)
    word = keep(k, T.Cast(words, raw), "uint32", lanes)
    if source == "bfloat16":
        return keep(k, bits(floats, T.shift_left(word, repeat(u32(16), lanes))), "float32", lanes)
    sign = T.shift_left(T.bitwise_and(word, repeat(u32(0x8000), lanes)), repeat(u32(16), lanes))
    rest = keep(k, T.bitwise_and(word, repeat(u32(0x7FFF), lanes)), "uint32", lanes)
    shifted = keep(k, T.shift_left(rest, repeat(u32(13), lanes)), "uint32", lanes)
    finite = bits(words, bits(floats, shifted) * repeat(f32(2.0**112), lanes))
    other = T.bitwise_or(shifted, repeat(u32(_INFINITY), lanes))
    word = T.bitwise_or(select(rest < repeat(u32(0x7C00), lanes), finite, other), sign)
    return keep(k, bits(floats, word), "float32", lanes)


def _round_half(k: KernelBuilder, values: Expr, lanes: int) -> Any:
    """float32 values rounded to float16's, except that what overflows stays beyond 65504."""
    words, floats = ("uint32", "float32") if lanes == 1 else (f"uint32x{lanes}", f"float32x{lanes}")
    word = keep(k, bits(words, values), "uint32", lanes)
    magnitude = keep(k, T.bitwise_and(word, repeat(u32(0x7FFFFFFF), lanes)), "uint32", lanes)
    # under the normal values float16's step is 2**-24, which is float32's step at 0.5
    half = repeat(f32(0.5), lanes)
    small = bits(words, bits(floats, magnitude) + half - half)
    rounded = select(magnitude < repeat(u32(_HALF_NORMAL), lanes), small, _round_bits(k, magnitude, lanes))
    finite = select(magnitude < repeat(u32(_INFINITY), lanes), rounded, magnitude)
    sign = T.bitwise_and(word, repeat(u32(0x80000000), lanes))
    return keep(k, bits(floats, T.bitwise_or(finite, sign)), "float32", lanes)


def _round_bits(k: KernelBuilder, word: Expr, lanes: int) -> Any:
    """float32 bits rounded to float16's 11 significant bits, to nearest even; the exponent's range stays."""
    # half a unit in the last kept place, less one when that place is even: the carry rounds to nearest even
    last = T.bitwise_and(T.shift_right(word, repeat(u32(13), lanes)), repeat(u32(1), lanes))
    sum_ = word + last + repeat(u32(0xFFF), lanes)
    return keep(k, T.bitwise_and(sum_, repeat(u32(0xFFFFE000), lanes)), "uint32", lanes)


def _scale(k: KernelBuilder, largest: Expr, kind: _Kind) -> Any:
    """The group's scale from its largest magnitude's bits; infinite or NaN for one that is not finite."""
    top = f32(float(kind.top))
    if not kind.half:
        return keep(k, bits("float32", largest) / top, "float32", 1)
    rounded = _round_half(k, bits("float32", largest), 1)
    scale = _round_half(k, rounded / top, 1)
    fits = bits("uint32", rounded) <= u32(_HALF_MAX)
    return keep(k, select(fits, scale, bits("float32", u32(_INFINITY))), "float32", 1)


def _half_bits(scale: Expr) -> Any:
    """A float32 that float16 has, not negative, as float16's bits."""
    word = bits("uint32", scale)
    normal = T.shift_right(word, u32(13)) - u32(112 << 10)
    small = T.Cast("uint32", scale * f32(2.0**24))
    found = select(word < u32(_HALF_NORMAL), small, normal)
    return T.Cast("uint16", select(word < u32(_INFINITY), found, u32(0x7C00)))


def _codes(k: KernelBuilder, values: Expr, scale: Expr, kind: _Kind, narrow: bool) -> Any:
    """uint32 codes: w / scale + top rounded and clamped to 0 … 2 * top."""
    lanes, top = kind.lanes, float(kind.top)
    words, floats = f"uint32x{lanes}", f"float32x{lanes}"

    def rounded(value: Expr) -> Any:
        value = keep(k, value, "float32", lanes)
        return bits(floats, _round_bits(k, bits(words, value), lanes)) if narrow else value

    shifted = rounded(rounded(values / repeat(scale, lanes)) + repeat(f32(top), lanes))
    clamped = T.max(T.min(shifted, repeat(f32(2 * top), lanes)), repeat(f32(0.0), lanes))
    mask = repeat(u32((1 << kind.bits) - 1), lanes)
    found = T.bitwise_and(bits(words, clamped + repeat(f32(_ROUND), lanes)), mask)
    # A group of zeros, or one whose scale is under float16's smallest: w / 0 is NaN or infinite, and MLC's clamp
    # makes codes 0, 0 and the largest of NaN and the infinities. They decode to 0 whatever they are.
    largest = repeat(u32(2 * kind.top), lanes)
    vanished = select(values > repeat(f32(0.0), lanes), largest, repeat(u32(0), lanes))
    return keep(k, select(repeat(scale == f32(0.0), lanes), vanished, found), "uint32", lanes)


def _pack(k: KernelBuilder, codes: Expr, kind: _Kind) -> Any:
    """A group's codes in its words, the first in the lowest bits."""
    if kind.bits == 8:
        return bits(f"uint32x{kind.words}", T.Cast(f"uint8x{kind.lanes}", codes))
    if kind.bits == 4:
        return _pack_nibbles(k, codes)
    each = kind.codes_per_word
    shifts = constants("uint32", [lane % each * kind.bits for lane in range(kind.lanes)])
    shifted = keep(k, T.shift_left(codes, shifts), "uint32", kind.lanes)
    total: Any = None
    for i in range(each):
        part = T.Shuffle([shifted], [word * each + i for word in range(kind.words)])
        total = part if total is None else T.bitwise_or(total, part)
    return total


def _pack_nibbles(k: KernelBuilder, codes: Expr) -> Any:
    """32 codes in four uint32, lowest nibble first."""
    octets = keep(k, bits("uint64x4", T.Cast("uint8x32", codes)), "uint64", 4)
    for shift, mask in ((4, 0x00FF00FF00FF00FF), (8, 0x0000FFFF0000FFFF)):
        moved = T.shift_right(octets, repeat(tirx.const(shift, "uint64"), 4))
        merged = T.bitwise_and(T.bitwise_or(octets, moved), repeat(tirx.const(mask, "uint64"), 4))
        octets = keep(k, merged, "uint64", 4)
    moved = T.shift_right(octets, repeat(tirx.const(16, "uint64"), 4))
    return T.Cast("uint32x4", T.bitwise_or(octets, moved))
