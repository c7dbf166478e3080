"""Rounds rows of x to int8 in groups of 32, as ``kernels.products.rows`` does, for the CPU's products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tvm import tirx

from mlcweb.kernels.cpu.builder import CpuKernel, repeat
from mlcweb.kernels.cpu.levels import is_seven_bits
from mlcweb.kernels.cpu.norm import inverse_root, mean
from mlcweb.kernels.language.builder import call, dynamic, f32, kernel, lane, load4, select
from mlcweb.kernels.language.expr import Buffer, Expr, T
from mlcweb.kernels.layouts.storage import GROUP
from mlcweb.kernels.layouts.tail import load_padded
from mlcweb.kernels.products.matvec import Norm
from mlcweb.quantize.formats import Format


@dataclass(frozen=True)
class Rounded:
    """How a product of a format takes rounded x: its codes as int8, or ``wide``, as int16; and sums of them.

    ``zero`` is above 0 where weights may be codes, of which it stands for 0: sums are int32, of -zero * codes, and not
    there if x is wide. ``scaled``: sums are float32, of the rounded values, which a minimum is multiplied by. A group
    has four sums: of its first 16 columns, 0, of the others, 0. Buffers are equal with Relaxed SIMD and without.
    """

    wide: bool
    zero: int = 0
    scaled: bool = False

    @classmethod
    def of(cls, form: Format, relaxed: bool) -> Rounded:
        """For weights of a format; ``relaxed``: where there is Relaxed SIMD."""
        seven = is_seven_bits(form)
        return cls(wide=not (relaxed and seven), zero=form.zero if seven else 0, scaled=form.minimum)

    @property
    def sums(self) -> str | None:
        """The sums' type, if there are any."""
        return "float32" if self.scaled else "int32" if self.zero else None

    def words(self, columns: int) -> int:
        """uint32 of a row's codes; int8 take the first half of all rows' together."""
        return -(-columns // GROUP) * GROUP // 2


@kernel
def round_rows(
    width: int, rounded: Rounded, *, norm: Norm | None = None, decode: bool = False, last_row: bool = False
) -> tirx.PrimFunc:
    """Kernel: x ``[n, K]``, RMS-normalized if ``norm``, as codes and scales ``[n, groups]``; of ``last_row``, 1.

    Arguments: x, [norm weight], codes uint32 ``[n, words]``, scales float32, [sums ``[n, 4 * groups]``]. scale =
    max|x| / 127 over 32 values, the last group padded with zeros. Of a group's codes the even columns' are first.
    """
    groups = -(-width // GROUP)
    k, n = CpuKernel("round_rows"), 1 if decode else dynamic("n")
    rows = 1 if last_row else n
    x = k.buffer("x", (n, width), "float32")
    weight = norm.weight.bind(k, "norm") if norm else None
    codes = k.output("codes", (rows, rounded.words(width)), "uint32")
    scales = k.output("scales", (rows, groups), "float32")
    sums = k.output("sums", (rows, 4 * groups), rounded.sums) if rounded.sums else None
    to = k.parallel(rows)
    row = n - 1 if last_row else to
    factor = inverse_root(k, mean(k, x, row, width, lambda x4: x4 * x4), norm.epsilon) if norm else None

    def normed(column: Expr) -> Expr:
        value = load4(x, row, column)
        return value if factor is None or weight is None else value * repeat(factor) * weight.four(k, column)

    with k.loop(groups) as group:
        values = [
            k.let(load_padded(normed, group * GROUP + i * 4, width, GROUP, offset=i * 4), "x4")
            for i in range(8)
        ]
        largest = k.let(_largest(k, values), "largest")
        inverse = repeat(k.let(select(largest > f32(0.0), f32(127.0) / largest, f32(0.0)), "inverse"))
        scale = k.let(largest * f32(1.0 / 127.0), "scale")
        k.store(scales, [to, group], scale)
        whole = [
            k.let(T.Cast("int32x4", call("float32x4", "round", value * inverse)), "whole") for value in values
        ]
        _store_codes(
            k, k.view(codes, "int16" if rounded.wide else "int8"), to * groups + group, whole, rounded
        )
        if sums is not None and (rounded.scaled or not rounded.wide):
            halves = [_sum(k, whole[i : i + 4]) for i in (0, 4)]
            numbers: list[Expr] = []
            for half in halves:
                own = T.Cast("float32", half) * scale if rounded.scaled else half * (-rounded.zero)
                numbers += [own, tirx.const(0, rounded.sums)]
            k.store(sums, [to, T.Ramp(group * 4, 1, 4)], T.Shuffle(numbers, [0, 1, 2, 3]))
    return k.finish()


def _largest(k: CpuKernel, values: list[Expr]) -> Expr:
    return _over_lanes(k, [call("float32x4", "abs", value) for value in values], T.max)


def _sum(k: CpuKernel, values: list[Expr]) -> Expr:
    return _over_lanes(k, values, lambda a, b: a + b)


def _over_lanes(k: CpuKernel, values: list[Expr], combine: Callable[[Expr, Expr], Expr]) -> Expr:
    total = values[0]
    for value in values[1:]:
        total = k.let(combine(total, value), "total")
    lanes = [lane(total, i) for i in range(4)]
    return k.let(combine(combine(lanes[0], lanes[1]), combine(lanes[2], lanes[3])), "total")


def _store_codes(k: CpuKernel, codes: Buffer, group: Expr, whole: list[Expr], rounded: Rounded) -> None:
    """Store a group's eight int32x4, the even columns' first."""
    dtype = "int16" if rounded.wide else "int8"
    for part in (0, 1):
        lanes = [lane(four, i) for four in whole for i in (part, part + 2)]
        vector = T.Cast(f"{dtype}x16", T.Shuffle(lanes, list(range(16))))
        k.store(codes, T.Ramp(group * GROUP + part * 16, 1, 16), vector)
