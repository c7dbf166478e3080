"""Puts rows beside others: several tensors become one, part by part."""

from __future__ import annotations

from tvm import tirx

from mlcweb.kernels.language.builder import KernelBuilder, dynamic, kernel, load4, ramp4
from mlcweb.kernels.language.expr import T

THREADS = 64


@kernel
def beside(width: int, count: int) -> tirx.PrimFunc:
    """Kernel ``y[:, part * D : (part + 1) * D] = x`` of ``y[b, count * D]``.

    Arguments: x ``[b, D]``, part, y, of which the rest is as it was.
    """
    k, b = KernelBuilder("beside"), dynamic("b")
    x = k.buffer("x", (b, width), "float32")
    part = k.scalar("part")
    y = k.output("y", (b, count * width), "float32")
    (wg, row), tid = k.launch([T.ceildiv(width // 4, THREADS), b], THREADS)
    column = k.let((wg * THREADS + tid) * 4, "column")
    with k.when(column < width):
        k.store(y, [row, ramp4(part * width + column)], load4(x, row, column))
    return k.finish()
