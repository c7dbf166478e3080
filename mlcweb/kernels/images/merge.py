"""Joins neighbouring patches to one row."""

from __future__ import annotations

from tvm import tirx

from mlcweb.kernels.language.builder import KernelBuilder, dynamic, kernel, load4, ramp4
from mlcweb.kernels.language.expr import T

THREADS = 64


@kernel
def merge(width: int, count: int) -> tirx.PrimFunc:
    """Kernel ``y[b, count * D]``: ``count`` rows of x one after the other, from each row's first patch on.

    Arguments: x ``[n, D]``, rows int32 ``[b]``, the first patches, y.
    """
    k, n, b = KernelBuilder("merge"), dynamic("n"), dynamic("b")
    x = k.buffer("x", (n, width), "float32")
    rows = k.buffer("rows", (b,), "int32")
    y = k.output("y", (b, count * width), "float32")
    quads = count * width // 4
    (wg, row), tid = k.launch([T.ceildiv(quads, THREADS), b], THREADS)
    column = k.let((wg * THREADS + tid) * 4, "column")
    with k.when(column < count * width):
        neighbour = k.let(rows[row] + column // width, "neighbour")
        k.store(y, [row, ramp4(column)], load4(x, neighbour, column % width))
    return k.finish()
