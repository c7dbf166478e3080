"""Multiplies each text's row with one or two rows of weights: how well a document answers a query."""

from __future__ import annotations

from tvm import tirx

from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.language.builder import KernelBuilder, call, dynamic, f32, kernel, load4
from mlcweb.kernels.language.expr import T
from mlcweb.kernels.language.reduce import reduce_rows
from mlcweb.kernels.layouts.storage import Values, WholeMatrix

THREADS = 64


@kernel
def score(weight: WholeMatrix, bias: Values | None, tier: Tier) -> tirx.PrimFunc:
    """Kernel ``y[b, 1]``: x times the last row of ``weight``, minus x times its first if it has two, plus a bias.

    The difference of the logits of "yes" and "no" is what a softmax of the two depends on.
    Arguments: x ``[b, D]``, weight's tensors, [bias], y.
    """
    width = weight.columns
    k, b = KernelBuilder("score"), dynamic("b")
    x = k.buffer("x", (b, width), "float32")
    w = weight.bind(k, "w")
    own = bias.bind(k, "bias") if bias else None
    y = k.output("y", (b, 1), "float32")
    (row,), tid = k.launch([b], THREADS)
    quads, sums = width // 4, k.local(1, name="sums")
    k.store(sums, 0, f32(0.0))
    with k.loop(T.ceildiv(quads - tid, THREADS)) as i:
        column = k.let((i * THREADS + tid) * 4, "column")
        w4 = k.let(w.four(k, weight.rows - 1, column), "w4")
        if weight.rows == 2:
            w4 = k.let(w4 - w.four(k, 0, column), "difference")
        k.store(sums, 0, sums[0] + call("float32", "dot", load4(x, row, column), w4))
    total = reduce_rows(k, tier, tid, sums, 1, THREADS)(0)
    with k.when(tid == 0):
        k.store(y, [row, 0], total if own is None else total + own.one(k, 0, 0))
    return k.finish()
