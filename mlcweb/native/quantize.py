"""Quantizes by MLC's rule in one pass over the checkpoint's bytes: cast, largest, scale, codes, packing."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.kernels.language.builder import Expr, KernelBuilder, bits, dynamic, f32, kernel, select, u32
from mlcweb.native.codes import Kind, store_codes
from mlcweb.native.floats import HALF_MAX, INFINITY, ROUND, half_bits, round_bits, round_half, widen
from mlcweb.native.function import Native, argument, built_once, compile_native
from mlcweb.native.vector import fold, keep, repeat
from mlcweb.quantize.formats import Format


def quantize(weight: npt.NDArray[Any], form: Format, *, cast: bool) -> tuple[npt.NDArray[Any], ...]:
    """Codes, uint32 [N, words], of each plane of ``form``, and scales [N, K / group] in ``form.scale``.

    K is a multiple of the group. ``weight`` is float32, float16 or bfloat16; with ``cast`` it counts as if it had been
    cast to ``form.scale`` first. A group with a weight that is not finite in that type gets an infinite scale or NaN.
    """
    n, groups, kind = weight.shape[0], weight.shape[1] // form.group, Kind.of(form)
    source = weight.dtype.name
    raw = np.ascontiguousarray(weight)
    if source != "float32":
        raw = raw.view(np.uint16)
    planes, scales = kind.empty(n, groups)
    _built(source, kind, cast, groups)(raw, *planes, scales)
    return *planes, scales.view(form.scale)


@built_once
def _built(source: str, kind: Kind, cast: bool, groups: int) -> Native:
    return compile_native("quantize", _quantize(source, kind, cast, groups))


@kernel
def _quantize(source: str, kind: Kind, cast: bool, groups: int) -> tirx.PrimFunc:
    half, lanes = kind.half, kind.lanes
    k = KernelBuilder("quantize")
    n = dynamic("n")
    stored = "float32" if source == "float32" else "uint16"
    weight = argument(k, "weight", (n, groups * lanes), stored)
    planes, scales = kind.arguments(k, n, groups)
    narrow = half and (cast or source == "float16")
    with k.loop(n) as row, k.loop(groups) as g:
        values = widen(k, weight[row, T.Ramp(g * lanes, 1, lanes)], source, lanes)
        if narrow and source != "float16":
            values = round_half(k, values, lanes)
        magnitudes = T.bitwise_and(bits(f"uint32x{lanes}", values), repeat(u32(0x7FFFFFFF), lanes))
        scale = _scale(k, fold(k, magnitudes, T.max, "uint32", lanes), kind)
        k.store(scales, [row, g], half_bits(scale) if half else scale)
        store_codes(k, planes, row, g, _codes(k, values, scale, kind, narrow), kind)
    return k.finish()


def _scale(k: KernelBuilder, largest: Expr, kind: Kind) -> Any:
    """The group's scale from its largest magnitude's bits; infinite or NaN for one that is not finite."""
    top = f32(float(kind.top))
    if not kind.half:
        return keep(k, bits("float32", largest) / top, "float32", 1)
    rounded = round_half(k, bits("float32", largest), 1)
    scale = round_half(k, rounded / top, 1)
    fits = bits("uint32", rounded) <= u32(HALF_MAX)
    return keep(k, select(fits, scale, bits("float32", u32(INFINITY))), "float32", 1)


def _codes(k: KernelBuilder, values: Expr, scale: Expr, kind: Kind, narrow: bool) -> Any:
    """uint32 codes: w / scale + top rounded and clamped to 0 … 2 * top."""
    lanes, top = kind.lanes, float(kind.top)
    words, floats = f"uint32x{lanes}", f"float32x{lanes}"

    def rounded(value: Expr) -> Any:
        value = keep(k, value, "float32", lanes)
        return bits(floats, round_bits(k, bits(words, value), lanes)) if narrow else value

    shifted = rounded(rounded(values / repeat(scale, lanes)) + repeat(f32(top), lanes))
    clamped = T.max(T.min(shifted, repeat(f32(2 * top), lanes)), repeat(f32(0.0), lanes))
    mask = repeat(u32((1 << kind.bits) - 1), lanes)
    codes = T.bitwise_and(bits(words, clamped + repeat(f32(ROUND), lanes)), mask)
    # A group of zeros, or one whose scale is under float16's smallest: w / 0 is NaN or infinite, and MLC's clamp
    # makes codes 0, 0 and the largest of NaN and the infinities. They decode to 0 whatever they are.
    largest = repeat(u32(2 * kind.top), lanes)
    vanished = select(values > repeat(f32(0.0), lanes), largest, repeat(u32(0), lanes))
    return keep(k, select(repeat(scale == f32(0.0), lanes), vanished, codes), "uint32", lanes)
