"""Makes one row of a text's rows, and gives rows the length 1."""

from __future__ import annotations

from tvm import tirx

from mlcweb.contract.constants import Pooling
from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.language.builder import (
    KernelBuilder,
    call,
    dynamic,
    f32,
    kernel,
    load4,
    ramp4,
    splat,
)
from mlcweb.kernels.language.expr import T
from mlcweb.kernels.language.reduce import reduce_rows
from mlcweb.kernels.texts.place import Places

THREADS = 64
# What sentence-transformers divides by at least: torch.nn.functional.normalize's eps.
SHORTEST = 1e-12


@kernel
def pool(width: int, pooling: Pooling) -> tirx.PrimFunc:
    """Kernel ``y[b, D]``: of each text the mean of its rows of x, or its first row (``cls``) or its last.

    Arguments: x ``[n, D]``, places, texts int32 ``[b]``, y.
    """
    k, n, b = KernelBuilder("pool"), dynamic("n"), dynamic("b")
    x = k.buffer("x", (n, width), "float32")
    places = Places.bind(k, n)
    texts = k.buffer("texts", (b,), "int32")
    y = k.output("y", (b, width), "float32")
    quads = width // 4
    (wg, text), tid = k.launch([T.ceildiv(quads, THREADS), b], THREADS)
    column = k.let((wg * THREADS + tid) * 4, "column")
    with k.when(column < width):
        first = k.let(texts[text], "first")
        end = k.let(places.end(first), "end")
        if pooling == "mean":
            sums = k.local(1, "float32x4", name="sums")
            k.store(sums, 0, splat(f32(0.0)))
            with k.loop(end - first) as i:
                k.store(sums, 0, sums[0] + load4(x, first + i, column))
            k.store(y, [text, ramp4(column)], sums[0] / splat(f32(end - first)))
        else:
            k.store(y, [text, ramp4(column)], load4(x, first if pooling == "cls" else end - 1, column))
    return k.finish()


@kernel
def unit(width: int, tier: Tier) -> tirx.PrimFunc:
    """Kernel ``y[b, D]``: x's rows divided by their lengths. Arguments: x ``[b, D]``, y."""
    k, b = KernelBuilder("unit"), dynamic("b")
    x = k.buffer("x", (b, width), "float32")
    y = k.output("y", (b, width), "float32")
    (row,), tid = k.launch([b], THREADS)
    quads, sums = width // 4, k.local(1, name="sums")
    k.store(sums, 0, f32(0.0))
    with k.loop(T.ceildiv(quads - tid, THREADS)) as i:
        x4 = k.let(load4(x, row, (i * THREADS + tid) * 4), "x4")
        k.store(sums, 0, sums[0] + call("float32", "dot", x4, x4))
    square = reduce_rows(k, tier, tid, sums, 1, THREADS)(0)
    factor = k.let(T.rsqrt(T.max(square, f32(SHORTEST**2))), "factor")
    with k.loop(T.ceildiv(quads - tid, THREADS)) as i:
        column = k.let((i * THREADS + tid) * 4, "column")
        k.store(y, [row, ramp4(column)], load4(x, row, column) * splat(factor))
    return k.finish()
