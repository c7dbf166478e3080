"""Computes exponentials, logarithms and float16 conversions in float32 lanes, since WebAssembly has none of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from mlcweb.kernels.language.builder import bits, f32, select, u32
from mlcweb.kernels.language.expr import Expr, T, Value

Let = Callable[..., Expr]  # names a value

# exp(r) = 1 + r + r^2 p(r) on |r| <= ln(2) / 2, within 2e-8: Cephes' expf (Moshier)
_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
_LARGEST, _SMALLEST = 88.37, -87.33  # exp of which is still a normal float32
_ROUND = 12582912.0  # 1.5 * 2**23: added to a small float32, it leaves the rounded integer


def exp(let: Let, value: Expr, lanes: int) -> Expr:
    """e to the power of float32s, within 2 units in the last place; 0 under -87.33, 2.4e38 over 88.37; NaN stays."""

    def number(x: float) -> Any:
        return _repeat(f32(x), lanes)

    given = let(value, "given")
    x = let(T.min(number(_LARGEST), T.max(number(_SMALLEST), given)), "x")
    whole = let(x * number(math.log2(math.e)) + number(_ROUND) - number(_ROUND), "whole")
    rest = let(x - whole * number(_LN2_HIGH) - whole * number(_LN2_LOW), "rest")
    series = number(_EXP[0])
    for coefficient in _EXP[1:]:
        series = series * rest + number(coefficient)
    series = series * rest * rest + rest + number(1.0)
    ints = "int32" if lanes == 1 else f"int32x{lanes}"
    exponent = T.Cast(ints, whole) + _repeat(127, lanes)
    power = bits(_typed("float32", lanes), T.shift_left(exponent, _repeat(23, lanes)))
    return let(select(given < number(_SMALLEST), number(0.0), series * power), "exp")


def log(let: Let, value: Expr) -> Expr:
    """The natural logarithm of a normal positive float32, within 2 units in the last place of 1."""
    word = let(bits("int32", value), "word")
    # the exponent for which the mantissa is in [sqrt(1/2), sqrt(2))
    exponent = let(T.shift_right(word - 0x3F3504F3, 23), "exponent")
    mantissa = let(bits("float32", word - T.shift_left(exponent, 23)), "mantissa")
    t = let((mantissa - f32(1.0)) / (mantissa + f32(1.0)), "t")
    square = let(t * t, "square")
    series: Expr = f32(2 / 9)
    for odd in (7, 5, 3, 1):
        series = series * square + f32(2 / odd)
    return let(series * t + T.Cast("float32", exponent) * f32(math.log(2)), "log")


def half_to_float(let: Let, words: Expr, lanes: int) -> Expr:
    """float32 of float16s, uint32 in the low 16 bits."""
    word = let(words, "half")
    sign = T.shift_left(T.bitwise_and(word, _repeat(u32(0x8000), lanes)), _repeat(u32(16), lanes))
    rest = let(
        T.shift_left(T.bitwise_and(word, _repeat(u32(0x7FFF), lanes)), _repeat(u32(13), lanes)), "rest"
    )
    scaled = bits(_typed("float32", lanes), rest) * _repeat(f32(2.0**112), lanes)
    other = T.bitwise_or(rest, _repeat(u32(0x7F800000), lanes))
    finite = rest < _repeat(u32(0x7C00 << 13), lanes)
    magnitude = select(finite, bits(_typed("uint32", lanes), scaled), other)
    return let(bits(_typed("float32", lanes), T.bitwise_or(magnitude, sign)), "float")


def finite_half_to_float(let: Let, words: Expr, lanes: int) -> Expr:
    """The same for halves that are finite, such as weights and scales: int32, whose sign is the half's (int16's cast).

    Shifted, the sign's copies are above the exponent, and are masked away but for one.
    """
    kept = T.bitwise_and(T.shift_left(words, _repeat(13, lanes)), _repeat(-0x70002000, lanes))
    return let(bits(_typed("float32", lanes), kept) * _repeat(f32(2.0**112), lanes), "float")


def float_to_half(let: Let, values: Expr, lanes: int) -> Expr:
    """float16's bits, uint32, of float32s, rounded to nearest even; infinite from 65520; NaN stays one."""
    word = let(bits(_typed("uint32", lanes), values), "word")
    magnitude = let(T.bitwise_and(word, _repeat(u32(0x7FFFFFFF), lanes)), "magnitude")
    sign = T.bitwise_and(T.shift_right(word, _repeat(u32(16), lanes)), _repeat(u32(0x8000), lanes))
    # under the normal values float16's step is 2**-24, which is float32's step at 0.5
    half = _repeat(f32(0.5), lanes)
    small = bits(_typed("uint32", lanes), bits(_typed("float32", lanes), magnitude) + half)
    small = small - bits(_typed("uint32", lanes), half)
    last = T.bitwise_and(T.shift_right(magnitude, _repeat(u32(13), lanes)), _repeat(u32(1), lanes))
    rounded = magnitude + last + _repeat(u32(0xFFF), lanes)
    normal = T.shift_right(rounded, _repeat(u32(13), lanes)) - _repeat(u32(112 << 10), lanes)
    large = select(
        magnitude > _repeat(u32(0x7F800000), lanes),
        _repeat(u32(0x7E00), lanes),
        _repeat(u32(0x7C00), lanes),
    )
    finite = select(magnitude < _repeat(u32(0x38800000), lanes), small, normal)
    return T.bitwise_or(select(magnitude < _repeat(u32(0x477FF000), lanes), finite, large), sign)


def _repeat(value: Value, lanes: int) -> Any:
    return T.Broadcast(value, lanes) if lanes > 1 else value


def _typed(scalar: str, lanes: int) -> str:
    return scalar if lanes == 1 else f"{scalar}x{lanes}"
