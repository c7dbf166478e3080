"""Reads the scales of a block of 32 weights, of four rows at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlcweb.kernels.cpu.builder import CpuKernel, repeat
from mlcweb.kernels.cpu.elementary import finite_half_to_float
from mlcweb.kernels.language.builder import lane
from mlcweb.kernels.language.expr import Expr, Index, T
from mlcweb.kernels.layouts.quantized import GroupQuantizedReader
from mlcweb.quantize.formats import STEP


@dataclass(frozen=True)
class BlockScale:
    """Scales of a block's groups, one or, for groups of 16, two; and their minimums, if the format has any."""

    scales: Sequence[Expr]
    minimums: Sequence[Expr]


class BlockScales:
    """The scales of a quantized matrix's blocks."""

    def __init__(self, k: CpuKernel, w: GroupQuantizedReader) -> None:
        self.k, self.w, self.form = k, w, w.form
        # packed halves are read by themselves
        self.halves = k.view(w.scales_buffer, "int16") if w.packed else None

    def of_rows(self, rows: Sequence[Expr], block: Expr) -> list[BlockScale]:
        """Those of a block in each of four rows."""
        if self.halves is None:
            return [self._of_row(row, block) for row in rows]
        group = self._groups(block)[0]
        words = [T.Cast("int32", self.halves[row * self.w.groups + group]) for row in rows]
        scales = finite_half_to_float(self.k.let, T.Shuffle(words, [0, 1, 2, 3]), 4)
        return [BlockScale([lane(scales, i)], []) for i in range(4)]

    def _of_row(self, row: Expr, block: Expr) -> BlockScale:
        found = [self.w.scales(self.k, row, group) for group in self._groups(block)]
        scales = [self.k.let(scale, "scale") for scale, _ in found]
        minimums = [self.k.let(minimum, "minimum") for _, minimum in found if minimum is not None]
        return BlockScale(scales, minimums)

    def _groups(self, block: Expr) -> list[Index]:
        """The groups that are in a block, or that it is in."""
        if self.form.group < STEP:
            return [block * 2, block * 2 + 1]
        shift = (self.form.group // STEP).bit_length() - 1
        return [T.shift_right(block, shift) if shift else block]


def in_lanes(k: CpuKernel, numbers: Sequence[Expr]) -> Expr:
    """float32x4: a block's number in each lane; of two, the first in lanes 0 and 1."""
    if len(numbers) == 1:
        return k.let(repeat(numbers[0]), "lanes")
    first, second = numbers
    return k.let(T.Shuffle([first, first, second, second], [0, 1, 2, 3]), "lanes")
