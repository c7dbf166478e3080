"""Reads a checkpoint's floats as float32 vectors, and does float16's arithmetic in float32.

float16 arithmetic is done in float32 and rounded after each operation, which gives the same bits (a single
operation rounded twice is exact when 24 >= 2 * 11 + 2), also on CPUs that have no float16.
"""

from __future__ import annotations

from typing import Any

from tvm.tirx.script import builder as T

from mlcweb.kernels.language.builder import KernelBuilder, bits, f32, select, u32
from mlcweb.kernels.language.expr import Expr
from mlcweb.native.vector import keep, repeat

HALF_MAX = 0x477FE000  # float16's largest value, 65504, as float32 bits
_HALF_NORMAL = 0x38800000  # its smallest normal value, 2**-14
INFINITY = 0x7F800000
ROUND = 12582912.0  # 1.5 * 2**23: added to a small float32, it leaves the rounded integer in the low bits


def widen(k: KernelBuilder, raw: Expr, source: str, lanes: int) -> Any:
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
    other = T.bitwise_or(shifted, repeat(u32(INFINITY), lanes))
    word = T.bitwise_or(select(rest < repeat(u32(0x7C00), lanes), finite, other), sign)
    return keep(k, bits(floats, word), "float32", lanes)


def round_half(k: KernelBuilder, values: Expr, lanes: int) -> Any:
    """float32 values rounded to float16's, except that what overflows stays beyond 65504."""
    words, floats = ("uint32", "float32") if lanes == 1 else (f"uint32x{lanes}", f"float32x{lanes}")
    word = keep(k, bits(words, values), "uint32", lanes)
    magnitude = keep(k, T.bitwise_and(word, repeat(u32(0x7FFFFFFF), lanes)), "uint32", lanes)
    # under the normal values float16's step is 2**-24, which is float32's step at 0.5
    half = repeat(f32(0.5), lanes)
    small = bits(words, bits(floats, magnitude) + half - half)
    rounded = select(magnitude < repeat(u32(_HALF_NORMAL), lanes), small, round_bits(k, magnitude, lanes))
    finite = select(magnitude < repeat(u32(INFINITY), lanes), rounded, magnitude)
    sign = T.bitwise_and(word, repeat(u32(0x80000000), lanes))
    return keep(k, bits(floats, T.bitwise_or(finite, sign)), "float32", lanes)


def round_bits(k: KernelBuilder, word: Expr, lanes: int) -> Any:
    """float32 bits rounded to float16's 11 significant bits, to nearest even; the exponent's range stays."""
    # half a unit in the last kept place, less one when that place is even: the carry rounds to nearest even
    last = T.bitwise_and(T.shift_right(word, repeat(u32(13), lanes)), repeat(u32(1), lanes))
    sum_ = word + last + repeat(u32(0xFFF), lanes)
    return keep(k, T.bitwise_and(sum_, repeat(u32(0xFFFFE000), lanes)), "uint32", lanes)


def half_bits(scale: Expr) -> Any:
    """A float32 that float16 has, or one that is too large, as float16's bits."""
    word = T.bitwise_and(bits("uint32", scale), u32(0x7FFFFFFF))
    normal = T.shift_right(word, u32(13)) - u32(112 << 10)
    small = T.Cast("uint32", bits("float32", word) * f32(2.0**24))
    magnitude = select(word < u32(_HALF_NORMAL), small, normal)
    sign = T.shift_right(T.bitwise_and(bits("uint32", scale), u32(0x80000000)), u32(16))
    return T.Cast("uint16", T.bitwise_or(select(word < u32(INFINITY), magnitude, u32(0x7C00)), sign))
