"""Joins several tensors of rows to one, side by side."""

from __future__ import annotations

from tvm import tirx

from mlcweb.kernels.language.builder import KernelBuilder, dynamic, kernel, load4, ramp4
from mlcweb.kernels.language.expr import T

THREADS = 64


@kernel
def beside(width: int, count: int) -> tirx.PrimFunc:
    """Kernel ``y[b, count * D]``: ``x0``, ``x1``, … ``[b, D]`` side by side. Arguments: those, y."""
    k, b = KernelBuilder("beside"), dynamic("b")
    parts = [k.buffer(f"x{i}", (b, width), "float32") for i in range(count)]
    y = k.output("y", (b, count * width), "float32")
    (wg, row), tid = k.launch([T.ceildiv(width // 4, THREADS), b], THREADS)
    column = k.let((wg * THREADS + tid) * 4, "column")
    with k.when(column < width):
        for i, part in enumerate(parts):
            k.store(y, [row, ramp4(i * width + column)], load4(part, row, column))
    return k.finish()
