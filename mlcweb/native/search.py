"""Quantizes groups with searched scales: of many grids it takes the one with the least weighted squared error.

A group's codes stand for -top … top + 1, one more than MLC's rule uses, and a scale may be negative, so that the long
end is on the side that has use for it. For the codes of each of some steps, least squares gives the best scale;
the least error of all wins, and is refined by rounding to it and solving again.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.kernels.language.builder import Expr, KernelBuilder, bits, dynamic, f32, kernel, select, u32
from mlcweb.native.codes import Kind, store_codes
from mlcweb.native.floats import HALF_MAX, INFINITY, ROUND, half_bits, round_half, widen
from mlcweb.native.function import Native, argument, built_once, compile_native
from mlcweb.native.vector import fold, keep, repeat
from mlcweb.quantize.formats import Format

# Steps that are tried, in parts of (largest weight / top), and how often the best is refined. Twice as many steps, and
# twice as many rounds, take less than 1 % from the error of SmolLM2's matrices.
STEPS = tuple(0.55 + 0.05 * i for i in range(12))
ROUNDS = 2


def search(
    weight: npt.NDArray[Any], importance: npt.NDArray[np.float32], form: Format
) -> tuple[npt.NDArray[Any], ...]:
    """Codes, uint32 [N, words], of each plane of ``form``, and scales [N, K / group] in ``form.scale``.

    K is a multiple of the group. ``weight`` is float32, float16 or bfloat16; ``importance``, float32 [K], is the
    weight of each column's squared error, positive and near 1. A group with a weight that is not finite, or whose
    scale ``form.scale`` cannot hold, gets an infinite scale or NaN. What a group gets depends on nothing beside it.
    """
    n, groups, kind = weight.shape[0], weight.shape[1] // form.group, Kind.of(form)
    source = weight.dtype.name
    raw = np.ascontiguousarray(weight)
    if source != "float32":
        raw = raw.view(np.uint16)
    planes, scales = kind.empty(n, groups)
    _built(source, kind, groups)(raw, importance, *planes, scales)
    return *planes, scales.view(form.scale)


@built_once
def _built(source: str, kind: Kind, groups: int) -> Native:
    return compile_native("search", _search(source, kind, groups))


@kernel
def _search(source: str, kind: Kind, groups: int) -> tirx.PrimFunc:
    half, lanes = kind.half, kind.lanes
    k = KernelBuilder("search")
    n = dynamic("n")
    stored = "float32" if source == "float32" else "uint16"
    weight = argument(k, "weight", (n, groups * lanes), stored)
    importance = argument(k, "importance", (groups * lanes,), "float32")
    planes, scales = kind.arguments(k, n, groups)
    group = _Group(k, kind)
    with k.loop(n) as row, k.loop(groups) as g:
        at = T.Ramp(g * lanes, 1, lanes)
        values = widen(k, weight[row, at], source, lanes)
        group.begin(values, keep(k, importance[at], "float32", lanes))
        with k.loop(len(STEPS)) as step:
            part = f32(STEPS[0]) + f32(STEPS[1] - STEPS[0]) * T.Cast("float32", step)
            group.attempt_both(part * f32(1 / kind.top))
        for _ in range(ROUNDS):
            group.refine()
        scale = group.scale()
        k.store(scales, [row, g], half_bits(scale) if half else scale)
        store_codes(k, planes, row, g, _codes(k, values, scale, kind), kind)
    return k.finish()


class _Group:
    """One group's search. Weights are in parts of the largest, whose sign they get, so it is 1.

    ``unit`` is a scale in those parts; ``mirrored``: the codes' long end is on the other side than the largest.
    """

    def __init__(self, k: KernelBuilder, kind: Kind) -> None:
        self.k, self.kind = k, kind
        self.parts, self.products = k.local(kind.lanes, name="parts"), k.local(kind.lanes, name="shares")
        self.weights = k.local(kind.lanes, name="weights")
        self.largest, self.magnitude = k.local(1, name="largest"), k.local(1, "uint32", name="magnitude")
        self.gain, self.unit = k.local(1, name="gain"), k.local(1, name="unit")
        self.mirrored = k.local(1, name="mirrored")  # 1.0 or -1.0: -1.0 where it is

    def begin(self, values: Expr, importance: Expr) -> None:
        """Start with a group's weights, float32, and the importance of its columns."""
        k, lanes = self.k, self.kind.lanes
        # of the bits, among which NaN's are the largest
        magnitudes = T.bitwise_and(bits(f"uint32x{lanes}", values), repeat(u32(0x7FFFFFFF), lanes))
        k.store(self.magnitude, 0, fold(k, magnitudes, T.max, "uint32", lanes))
        high, low = fold(k, values, T.max, "float32", lanes), fold(k, values, T.min, "float32", lanes)
        k.store(self.largest, 0, select(high >= f32(0.0) - low, high, low))
        at = T.Ramp(0, 1, lanes)
        k.store(self.parts, at, values / repeat(self.largest[0], lanes))
        k.store(self.weights, at, importance)
        k.store(self.products, at, self.parts[at] * self.weights[at])
        # what a group of zeros keeps
        k.store(self.gain, 0, f32(0.0))
        k.store(self.unit, 0, f32(1 / self.kind.top))
        k.store(self.mirrored, 0, f32(1.0))

    def attempt_both(self, unit: Expr) -> None:
        """Keep the scale of least error for the codes that ``unit`` gives, with either end the long one."""
        rounded = self._rounded(keep(self.k, unit, "float32", 1))
        for mirrored in (False, True):
            low, high = -self.kind.top - mirrored, self.kind.top + (not mirrored)
            self._solve(rounded, f32(float(low)), f32(float(high)), f32(-1.0 if mirrored else 1.0))

    def refine(self) -> None:
        """The same from the best so far."""
        rounded = self._rounded(self.unit[0])
        one = keep(self.k, (f32(1.0) - self.mirrored[0]) * f32(0.5), "float32", 1)
        top = float(self.kind.top)
        self._solve(rounded, f32(-top) - one, f32(top + 1) - one, self.mirrored[0])

    def _rounded(self, unit: Expr) -> Any:
        """The weights in steps of ``unit``, to nearest even."""
        lanes = self.kind.lanes
        steps = self.parts[T.Ramp(0, 1, lanes)] * repeat(f32(1.0) / unit, lanes)
        moved = keep(self.k, steps + repeat(f32(ROUND), lanes), "float32", lanes)
        return keep(self.k, moved - repeat(f32(ROUND), lanes), "float32", lanes)

    def _solve(self, rounded: Expr, low: Expr, high: Expr, mirrored: Expr) -> None:
        """Least squares for these codes, clamped: their scale is ``ab / bb``, and takes ``ab ** 2 / bb`` from the
        error of a group of zeros."""
        k, lanes = self.k, self.kind.lanes
        at = T.Ramp(0, 1, lanes)
        codes = keep(k, T.max(T.min(rounded, repeat(high, lanes)), repeat(low, lanes)), "float32", lanes)
        ab = fold(k, self.products[at] * codes, operator.add, "float32", lanes)
        bb = fold(k, self.weights[at] * codes * codes, operator.add, "float32", lanes)
        unit = keep(k, ab / bb, "float32", 1)
        gain = keep(k, ab * unit, "float32", 1)
        better = keep(k, select(gain > self.gain[0], f32(1.0), f32(0.0)), "float32", 1) > f32(0.5)
        k.store(self.unit, 0, select(better, unit, self.unit[0]))
        k.store(self.mirrored, 0, select(better, mirrored, self.mirrored[0]))
        k.store(self.gain, 0, select(better, gain, self.gain[0]))

    def scale(self) -> Any:
        """The best scale, as it is stored; infinite or NaN for a group with a weight that is not finite."""
        k = self.k
        infinite = bits("float32", u32(INFINITY))
        best = self.largest[0] * self.unit[0] * self.mirrored[0]
        scale = keep(k, select(self.magnitude[0] < u32(INFINITY), best, infinite), "float32", 1)
        if self.kind.half:
            scale = round_half(k, scale, 1)
            magnitude = T.bitwise_and(bits("uint32", scale), u32(0x7FFFFFFF))
            scale = keep(
                k, select(magnitude <= u32(HALF_MAX), scale, bits("float32", u32(INFINITY))), "float32", 1
            )
        return scale


def _codes(k: KernelBuilder, values: Expr, scale: Expr, kind: Kind) -> Any:
    """uint32 codes: w / scale rounded to even, clamped to -top … top + 1, plus top; 0 where the scale is 0."""
    lanes, top = kind.lanes, float(kind.top)
    vanished = scale == f32(0.0)
    steps = keep(k, values / repeat(select(vanished, f32(1.0), scale), lanes), "float32", lanes)
    clamped = T.max(T.min(steps, repeat(f32(top + 1), lanes)), repeat(f32(-top), lanes))
    mask = repeat(u32((1 << kind.bits) - 1), lanes)
    shifted = keep(k, clamped + repeat(f32(ROUND), lanes), "float32", lanes)
    codes = T.bitwise_and(bits(f"uint32x{lanes}", shifted) + repeat(u32(kind.top), lanes), mask)
    zero = repeat(u32(0), lanes)
    return keep(k, select(repeat(vanished, lanes), zero, codes), "uint32", lanes)
