"""Reads four weights of any storage as float32, with vectors where the GPU's readers have words."""

from __future__ import annotations

from collections.abc import Callable

from mlcweb.kernels.cpu.builder import CpuKernel, repeat
from mlcweb.kernels.cpu.elementary import finite_half_to_float
from mlcweb.kernels.language.builder import bits
from mlcweb.kernels.language.expr import Expr, Index, T
from mlcweb.kernels.layouts.packed_floats import unpack_bfloat4
from mlcweb.kernels.layouts.quantized import GroupQuantizedReader
from mlcweb.kernels.layouts.storage import ValuesReader

Four = Callable[[Index, Index], Expr]  # of a row and a column, which is a multiple of 4: float32x4


def four_of(k: CpuKernel, reader: ValuesReader | GroupQuantizedReader) -> Four:
    """What reads four weights of a reader. To be called after ``parallel``."""
    if isinstance(reader, GroupQuantizedReader) or reader.unpack is None:
        return lambda row, column: reader.four(k, row, column)
    halves, words = k.view(reader.buffer, "int16"), int(reader.buffer.shape[1])  # type: ignore[attr-defined]
    bfloat = reader.unpack is unpack_bfloat4

    def four(row: Index, column: Index) -> Expr:
        word = T.Cast("int32x4", halves[T.Ramp(row * (2 * words) + column, 1, 4)])
        if bfloat:
            return bits("float32x4", T.shift_left(word, repeat(16)))
        return finite_half_to_float(k.let, word, 4)

    return four
