"""Takes the mean of neighbouring patches."""

from __future__ import annotations

from tvm import tirx

from mlcweb.kernels.language.builder import KernelBuilder, dynamic, f32, kernel, load4, ramp4, splat
from mlcweb.kernels.language.expr import T

THREADS = 64


@kernel
def mean(width: int, count: int) -> tirx.PrimFunc:
    """Kernel ``y[b, D]``: the mean of ``count`` rows of x, from each row's first patch on.

    Arguments: x ``[n, D]``, rows int32 ``[b]``, the first patches, y.
    """
    k, n, b = KernelBuilder("mean"), dynamic("n"), dynamic("b")
    x = k.buffer("x", (n, width), "float32")
    rows = k.buffer("rows", (b,), "int32")
    y = k.output("y", (b, width), "float32")
    quads = width // 4
    (wg, row), tid = k.launch([T.ceildiv(quads, THREADS), b], THREADS)
    quad = k.let(wg * THREADS + tid, "quad")
    with k.when(quad < quads):
        total = k.local(1, "float32x4", name="total")
        k.store(total, 0, splat(f32(0.0)))
        with k.loop(count) as neighbour:
            k.store(total, 0, total[0] + load4(x, rows[row] + neighbour, quad * 4))
        k.store(y, [row, ramp4(quad * 4)], total[0] * splat(f32(1 / count)))
    return k.finish()
