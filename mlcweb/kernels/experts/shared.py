"""Adds the expert that every token has, as much of it as the token's gate says."""

from tvm import tirx

from mlcweb.kernels.language.builder import KernelBuilder, dynamic, kernel, load4, ramp4, splat
from mlcweb.kernels.language.expr import T

_THREADS = 64
GATES = 4  # alike, since products make four outputs at a time


@kernel
def add_scaled(width: int, *, decode: bool = False) -> tirx.PrimFunc:
    """Kernel ``y[n, D] = residual + scales[:, 0] * x``, float32. Arguments: x, scales ``[n, 4]``, residual, y.

    ``decode``: n is 1. All of x, residual and y lie in one order.
    """
    k, n = KernelBuilder("add_scaled"), 1 if decode else dynamic("n")
    x = k.buffer("x", (n, width), "float32")
    scales = k.buffer("scales", (n, GATES), "float32")
    residual = k.buffer("residual", (n, width), "float32")
    y = k.output("y", (n, width), "float32")
    (wg, row), tid = k.launch([T.ceildiv(width // 4, _THREADS), n], _THREADS)
    column = k.let((wg * _THREADS + tid) * 4, "column")
    with k.when(column < width):
        added = splat(scales[row, 0]) * load4(x, row, column)
        k.store(y, [row, ramp4(column)], load4(residual, row, column) + added)
    return k.finish()
