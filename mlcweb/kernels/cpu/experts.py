"""Routes tokens to experts, multiplies each (token, expert) pair, and adds the experts' outputs.

Pairs are numbered ``token * experts_per_token + rank``. A thread has some rows of an expert at a time, and multiplies
them by all tokens that chose it, so that weights are read from memory once.
"""

from __future__ import annotations

from tvm import tirx

from mlcweb.kernels.cpu.builder import CpuKernel, repeat, sum_of_lanes
from mlcweb.kernels.cpu.outputs import Outputs
from mlcweb.kernels.cpu.product import FloatProduct
from mlcweb.kernels.cpu.product_int8 import RoundedProduct
from mlcweb.kernels.cpu.readers import four_of
from mlcweb.kernels.experts.weights import ExpertRange
from mlcweb.kernels.language.builder import dynamic, exp, f32, kernel, load4, ramp4
from mlcweb.kernels.language.expr import Buffer, Expr, Index, T
from mlcweb.kernels.layouts.quantized import GroupQuantized
from mlcweb.kernels.layouts.storage import Values, WholeMatrix
from mlcweb.kernels.products.outputs import Folded

_PARTS = 8  # of the grid of a product, which a thread makes for a pair before the next


@kernel
def route(
    router: Values,
    experts_per_token: int,
    *,
    normalized: bool = True,
    decode: bool = False,
    bias: Values | None = None,
) -> tirx.PrimFunc:
    """Kernel: each token's ``experts_per_token`` experts of the largest logits, the first of equals, and their shares.

    Arguments: x ``[n, D]``, router ``[E, D]``, [bias ``[1, E]``], logits ``[n, E]`` (of which those of chosen experts
    are lost), ids i32 ``[n, X]``, shares f32 ``[n, X]``: the softmax over the chosen ones' logits, or over all if not
    ``normalized``. n is 1 in ``decode``.
    """
    experts, columns = router.rows, router.columns
    k, n = CpuKernel("route"), 1 if decode else dynamic("n")
    x = k.buffer("x", (n, columns), "float32")
    w = router.bind(k, "router")
    b = bias.bind(k, "bias") if bias else None
    logits = k.output("logits", (n, experts), "float32")
    ids = k.output("ids", (n, experts_per_token), "int32")
    shares = k.output("shares", (n, experts_per_token), "float32")
    row, four = k.parallel(n), four_of(k, w)
    with k.loop(experts) as e:
        total = k.vector("total")
        with k.loop(columns // 4) as quad:
            total.add(four(e, quad * 4) * load4(x, row, quad * 4))
        logit = sum_of_lanes(k, total.value)
        k.store(logits, [row, e], logit if b is None else logit + b.one(k, 0, e))
    _choose(k, logits, row, experts, experts_per_token, normalized, ids, shares)
    return k.finish()


def _choose(
    k: CpuKernel,
    logits: Buffer,
    row: Expr,
    experts: int,
    experts_per_token: int,
    normalized: bool,
    ids: Buffer,
    shares: Buffer,
) -> None:
    best, top, total = k.vector("best", 1, "int32"), k.vector("top", 1), k.vector("total", 1)
    tops = []
    for j in range(experts_per_token):
        best.set(0)
        with k.loop(experts - 1) as e, k.when(logits[row, e + 1] > logits[row, best.value]):
            best.set(e + 1)
        tops.append(k.let(logits[row, best.value], "chosen"))
        k.store(ids, [row, j], best.value)
        if j == 0:
            top.set(tops[0])
            if not normalized:
                with k.loop(experts) as e:
                    total.add(exp(k.let(logits[row, e] - top.value, "less")))
        k.store(logits, [row, best.value], f32(-3.0e38))
    parts = [exp(k.let(logit - top.value, "less")) for logit in tops]
    if normalized:
        for part in reversed(parts):
            total.add(part)
    for j, part in enumerate(parts):
        k.store(shares, [row, j], part / total.value)


@kernel
def product_of_experts(
    weight: WholeMatrix,
    experts: ExpertRange,
    *,
    rounds: bool,
    relaxed: bool,
    folded: Folded,
    decode: bool = False,
    from_pairs: bool = False,
) -> tirx.PrimFunc:
    """Kernel ``y[n * X, N]``: of the pairs whose experts are in the range, the expert's matrix times the token.

    Arguments: x ``[n, K]``, or ``[n * X, K]`` if ``from_pairs``, or codes, scales and sums of it if it ``rounds``; w,
    stacked by expert; ids i32 ``[n, X]``; what ``folded`` has of bias, a row for each expert; y. n is 1 in ``decode``.
    """
    k, n, chosen = CpuKernel("product_of_experts"), 1 if decode else dynamic("n"), experts.experts_per_token
    k.reads(experts=experts.total, choices=chosen)
    pairs, each = n * chosen, weight.rows // experts.count
    rows_of_x = pairs if from_pairs else n
    if rounds and isinstance(weight, GroupQuantized):
        bound: FloatProduct | RoundedProduct = RoundedProduct(k, weight, rows_of_x, relaxed)
    else:
        bound = FloatProduct(k, weight, rows_of_x)
    ids = k.buffer("ids", (n, chosen), "int32")
    outputs = Outputs.bind(k, pairs, each, folded, None)
    # neighbours in the grid are of different experts, so that threads' ranges have as much to do
    item = k.parallel(-(-outputs.grid // _PARTS) * experts.count)
    part, expert = k.let(item // experts.count * _PARTS, "part"), k.let(item % experts.count, "expert")
    multiply = bound.begin()
    with k.loop(pairs) as pair:
        token = k.let(pair // chosen, "token")
        here = ids[token, pair % chosen] - experts.first == expert
        with k.when(here), k.loop(T.min(outputs.grid - part, _PARTS)) as i:
            first = outputs.first(k.let(part + i, "index"))
            rows = [k.let(row + expert * each, "row") for row in outputs.rows(first)]
            (sums,) = multiply(rows, [pair if from_pairs else token])
            outputs.store(pair, first, sums, expert + experts.first)
    return k.finish()


@kernel
def combine(width: int, experts_per_token: int, *, decode: bool = False) -> tirx.PrimFunc:
    """Kernel ``y[n, D] = residual + sum over its experts of shares * pairs``; n is 1 in ``decode``.

    Arguments: pairs ``[n * X, D]``, shares ``[n, X]``, residual ``[n, D]``, y.
    """
    k, n = CpuKernel("combine"), 1 if decode else dynamic("n")
    pairs = k.buffer("pairs", (n * experts_per_token, width), "float32")
    shares = k.buffer("shares", (n, experts_per_token), "float32")
    residual = k.buffer("residual", (n, width), "float32")
    y = k.output("y", (n, width), "float32")
    row = k.parallel(n)
    factors = [k.let(repeat(shares[row, j]), "share") for j in range(experts_per_token)]
    with k.loop(width // 4) as quad:
        column: Index = quad * 4
        total = load4(residual, row, column)
        for j, factor in enumerate(factors):
            total = total + factor * load4(pairs, row * experts_per_token + j, column)
        k.store(y, [row, ramp4(column)], total)
    return k.finish()
