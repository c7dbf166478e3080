"""Normalizes spans of a row, such as the outputs of each head, which share a weight."""

from __future__ import annotations

from tvm import tirx

from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.language.builder import KernelBuilder, call, dynamic, f32, kernel, load4, ramp4, splat
from mlcweb.kernels.language.expr import T
from mlcweb.kernels.language.reduce import reduce_rows
from mlcweb.kernels.layouts.block_order import offset4
from mlcweb.kernels.layouts.storage import Values

THREADS = 64


@kernel
def norm_spans(
    weight: Values, spans: int, epsilon: float, tier: Tier, *, decode: bool = False, block_order: bool = False
) -> tirx.PrimFunc:
    """Kernel ``y[n, spans * W]``: RMSNorm of each span of W, float32. Arguments: x, weight ``[1, W]``, y.

    ``decode``: n is 1; ``block_order``: of y.
    """
    width = weight.columns
    k, n = KernelBuilder("norm_spans"), 1 if decode else dynamic("n")
    x = k.buffer("x", (n, spans * width), "float32")
    w = weight.bind(k, "weight")
    y = k.output("y", (n, spans * width), "float32")
    (span, row), tid = k.launch([spans, n], THREADS)
    quads, sums = width // 4, k.local(1, name="sums")
    k.store(sums, 0, f32(0.0))
    with k.loop(T.ceildiv(quads - tid, THREADS)) as i:
        x4 = k.let(load4(x, row, span * width + (i * THREADS + tid) * 4), "x4")
        k.store(sums, 0, sums[0] + call("float32", "dot", x4, x4))
    mean = reduce_rows(k, tier, tid, sums, 1, THREADS)(0) / float(width)
    factor = k.let(T.rsqrt(mean + f32(epsilon)), "factor")
    with k.loop(T.ceildiv(quads - tid, THREADS)) as i:
        inside = k.let((i * THREADS + tid) * 4, "inside")
        column = k.let(span * width + inside, "column")
        value = load4(x, row, column) * splat(factor) * w.four(k, 0, inside)
        k.store(y, [row, ramp4(offset4(column, spans * width) if block_order else column)], value)
    return k.finish()
