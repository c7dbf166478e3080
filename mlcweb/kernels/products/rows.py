"""Rewrites x for prefill's products, in groups of 32 columns: rounded to int8 with a scale, or to float16."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tvm import tirx

from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.language.builder import (
    KernelBuilder,
    call,
    dynamic,
    f32,
    kernel,
    lane,
    load4,
    ramp4,
    splat,
)
from mlcweb.kernels.language.expr import Buffer, Expr, T
from mlcweb.kernels.language.reduce import reduce_rows
from mlcweb.kernels.layouts.storage import GROUP, VectorReader
from mlcweb.kernels.layouts.tail import load_padded
from mlcweb.kernels.products.matvec import Norm

_THREADS = 64
_LARGEST_HALF = 65504.0


@kernel
def quantize_rows(width: int, tier: Tier, norm: Norm | None = None, *, paired: bool = True) -> tirx.PrimFunc:
    """Kernel: x, RMS-normalized if ``norm``, as int8 ``[n, 8 * groups]`` uint32 and scales ``[n, groups]``.

    Arguments: x ``[n, K]``, [norm weight], codes, scales. scale = max|x| / 127 over 32 values, the last group padded
    with zeros. ``paired``: of eight values the first word has the even ones and the second the odd ones, as masking
    nibbles gives the weights'; otherwise they are in order.
    """
    groups = -(-width // GROUP)
    k, n = KernelBuilder("quantize_rows"), dynamic("n")
    read = _X.bind(k, n, width, norm)
    codes = k.output("codes", (n, groups * GROUP // 4), "uint32")
    scales = k.output("scales", (n, groups), "float32")

    def store(values: list[Expr], row: Expr, group: Expr) -> None:
        _quantize_group(k, values, row, group, codes, scales, paired)

    return read.by_group(tier, store)


@kernel
def float16_rows(width: int, tier: Tier, norm: Norm | None = None) -> tirx.PrimFunc:
    """Kernel: x, RMS-normalized if ``norm``, as pairs of float16 ``[n, 16 * groups]`` uint32.

    Arguments: x ``[n, K]``, [norm weight], halves. The last group is padded with zeros. Of eight values a word has the
    i-th and the (i + 4)-th, as masking nibbles gives the weights'. What float16 cannot hold becomes its largest.
    """
    k, n = KernelBuilder("halve_rows"), dynamic("n")
    read = _X.bind(k, n, width, norm)
    out = k.output("halves", (n, -(-width // GROUP) * GROUP // 2), "uint32")

    def store(values: list[Expr], row: Expr, group: Expr) -> None:
        largest = f32(_LARGEST_HALF)
        for eight in range(GROUP // 8):
            low, high = (
                k.let(call("float32x4", "clamp", value, splat(-largest), splat(largest)), "half4")
                for value in values[eight * 2 : eight * 2 + 2]
            )
            words = [
                call("uint32", "pack2x16float", call("float32x2", "vec2<f32>", lane(low, i), lane(high, i)))
                for i in range(4)
            ]
            at = group * (GROUP // 2) + eight * 4
            k.store(out, [row, ramp4(at)], T.Shuffle(words, [0, 1, 2, 3]))

    return read.by_group(tier, store)


@dataclass(frozen=True)
class _X:
    """x ``[n, K]``, to be read by groups, and the norm that is applied on the way, if there is one."""

    k: KernelBuilder
    n: Expr
    width: int
    x: Buffer
    norm: Norm | None
    weight: VectorReader | None

    @classmethod
    def bind(cls, k: KernelBuilder, n: Expr, width: int, norm: Norm | None) -> _X:
        """Declare the kernel's first arguments: x, and norm, if there is one."""
        x = k.buffer("x", (n, width), "float32")
        return cls(k, n, width, x, norm, norm.weight.bind(k, "norm") if norm else None)

    def by_group(self, tier: Tier, store: Callable[[list[Expr], Expr, Expr], None]) -> tirx.PrimFunc:
        """Give each group's eight float32x4 to ``store``: a thread has a group, or, with a norm, a workgroup a row."""
        if self.norm is None or self.weight is None:
            self._groups_of_threads(store)
        else:
            self._rows_of_workgroups(tier, self.norm, self.weight, store)
        return self.k.finish()

    @property
    def _groups(self) -> int:
        return -(-self.width // GROUP)

    def _values(self, load: Callable[[Expr], Expr], group: Expr) -> list[Expr]:
        return [load_padded(load, group * GROUP + i * 4, self.width, GROUP, offset=i * 4) for i in range(8)]

    def _groups_of_threads(self, store: Callable[[list[Expr], Expr, Expr], None]) -> None:
        k, groups = self.k, self._groups
        (wg,), tid = k.launch([T.ceildiv(self.n * groups, _THREADS)], _THREADS)
        item = k.let(wg * _THREADS + tid, "item")
        with k.when(item < self.n * groups):
            row, group = k.let(item // groups, "row"), k.let(item % groups, "group")
            store(self._values(lambda at: load4(self.x, row, at), group), row, group)

    def _rows_of_workgroups(
        self, tier: Tier, norm: Norm, weight: VectorReader, store: Callable[[list[Expr], Expr, Expr], None]
    ) -> None:
        k, x = self.k, self.x
        (row,), tid = k.launch([self.n], _THREADS)
        sums = k.local(1, name="sums")
        k.store(sums, 0, f32(0.0))
        with k.loop(T.ceildiv(self.width // 4 - tid, _THREADS)) as i:
            value = k.let(load4(x, row, (i * _THREADS + tid) * 4), "x4")
            k.store(sums, 0, sums[0] + call("float32", "dot", value, value))
        total = reduce_rows(k, tier, tid, sums, 1, _THREADS)(0)
        factor = k.local(1, name="factor")
        k.store(factor, 0, T.rsqrt(total / float(self.width) + f32(norm.epsilon)))

        def normed(column: Expr) -> Expr:
            return load4(x, row, column) * splat(factor[0]) * weight.four(k, column)

        with k.loop(T.ceildiv(self._groups - tid, _THREADS)) as i:
            group = k.let(i * _THREADS + tid, "group")
            store(self._values(normed, group), row, group)


def _quantize_group(
    k: KernelBuilder, values: list[Expr], row: Expr, group: Expr, codes: Buffer, scales: Buffer, paired: bool
) -> None:
    registers = k.local(8, "float32x4", name="values")
    top = k.local(1, "float32x4", name="top")
    k.store(top, 0, splat(f32(0.0)))
    for i, value in enumerate(values):
        k.store(registers, i, value)
        k.store(top, 0, call("float32x4", "max", top[0], call("float32x4", "abs", registers[i])))
    largest, factor = k.local(1, name="largest"), k.local(1, name="factor")
    k.store(
        largest, 0, T.max(T.max(lane(top[0], 0), lane(top[0], 1)), T.max(lane(top[0], 2), lane(top[0], 3)))
    )
    k.store(factor, 0, T.Select(largest[0] > f32(0.0), f32(127.0) / largest[0], f32(0.0)))
    k.store(scales, [row, group], largest[0] * f32(1.0 / 127.0))
    rounded = k.local(8, "int32x4", name="rounded")
    for i in range(8):
        k.store(
            rounded,
            i,
            call("int32x4", "vec4<i32>", call("float32x4", "round", registers[i] * splat(factor[0]))),
        )
    for half in range(2):  # a vector of four words
        words = []
        for pair in range(2):
            low, high = rounded[half * 4 + pair * 2], rounded[half * 4 + pair * 2 + 1]
            if not paired:
                words += [call("uint32", "pack4xI8", four) for four in (low, high)]
                continue
            for first in (0, 1):
                lanes = [lane(low, first), lane(low, first + 2), lane(high, first), lane(high, first + 2)]
                words.append(call("uint32", "pack4xI8", T.Shuffle(lanes, [0, 1, 2, 3])))
        k.store(codes, [row, ramp4(group * (GROUP // 4) + half * 4)], T.Shuffle(words, [0, 1, 2, 3]))
