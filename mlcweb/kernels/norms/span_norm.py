"""Normalizes spans of a row, such as the outputs of each head, which share a weight: all of them, or one."""

from __future__ import annotations

from tvm import tirx

from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.language.builder import KernelBuilder, call, dynamic, f32, kernel, load4, ramp4, splat
from mlcweb.kernels.language.expr import Buffer, Expr, Index, T
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
    factor = _factor(k, x, row, span * width, width, epsilon, tier, tid)
    with k.loop(T.ceildiv(width // 4 - tid, THREADS)) as i:
        inside = k.let((i * THREADS + tid) * 4, "inside")
        column = k.let(span * width + inside, "column")
        value = load4(x, row, column) * splat(factor) * w.four(k, 0, inside)
        k.store(y, [row, ramp4(offset4(column, spans * width) if block_order else column)], value)
    return k.finish()


@kernel
def add_norm_of_span(
    weight: Values,
    spans: int,
    epsilon: float,
    factor: float,
    tier: Tier,
    *,
    decode: bool = False,
    block_order: bool = False,
) -> tirx.PrimFunc:
    """Kernel ``y[n, W] = other[:, span] + factor * norm(x[:, span])``: RMSNorm of one span of W of each row, float32.

    Arguments: x ``[n, spans * W]``, weight ``[1, W]``, other as x, the number ``span``, y. ``decode``: n is 1;
    ``block_order``: of y.
    """
    width = weight.columns
    k, n = KernelBuilder("add_norm_of_span"), 1 if decode else dynamic("n")
    x = k.buffer("x", (n, spans * width), "float32")
    w = weight.bind(k, "weight")
    other = k.buffer("other", (n, spans * width), "float32")
    first = k.scalar("span") * width
    y = k.output("y", (n, width), "float32")
    (row,), tid = k.launch([n], THREADS)
    scale = k.let(f32(factor) * _factor(k, x, row, first, width, epsilon, tier, tid), "scale")
    with k.loop(T.ceildiv(width // 4 - tid, THREADS)) as i:
        inside = k.let((i * THREADS + tid) * 4, "inside")
        normed = load4(x, row, first + inside) * splat(scale) * w.four(k, 0, inside)
        at = ramp4(offset4(inside, width) if block_order else inside)
        k.store(y, [row, at], load4(other, row, first + inside) + normed)
    return k.finish()


def _factor(
    k: KernelBuilder, x: Buffer, row: Index, first: Index, width: int, epsilon: float, tier: Tier, tid: Expr
) -> Expr:
    """What RMSNorm multiplies ``width`` values of a row by, from column ``first`` on, before the weight."""
    quads, sums = width // 4, k.local(1, name="sums")
    k.store(sums, 0, f32(0.0))
    with k.loop(T.ceildiv(quads - tid, THREADS)) as i:
        x4 = k.let(load4(x, row, first + (i * THREADS + tid) * 4), "x4")
        k.store(sums, 0, sums[0] + call("float32", "dot", x4, x4))
    mean = reduce_rows(k, tier, tid, sums, 1, THREADS)(0) / float(width)
    return k.let(T.rsqrt(mean + f32(epsilon)), "factor")
