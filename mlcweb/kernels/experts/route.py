"""Routes tokens to experts, groups a chunk's tokens by expert, and adds the experts' outputs.

A chunk's (token, expert) pairs, numbered ``token * experts_per_token + rank``, are sorted by expert into slots. An
expert's slots begin at a tile of the product, and slots that are left over hold -1. No order depends on how threads
are scheduled. In shapes X is ``experts_per_token``.
"""

from tvm import tirx

from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.language.builder import KernelBuilder, call, dynamic, f32, kernel, load4, ramp4, splat
from mlcweb.kernels.language.expr import Buffer, Expr, Index, T
from mlcweb.kernels.language.reduce import reduce_rows
from mlcweb.kernels.layouts.block_order import offset4
from mlcweb.kernels.layouts.storage import Values
from mlcweb.kernels.products.matvec import Norm

MAX_EXPERTS = 512  # whose counts fit in workgroup memory
_THREADS = 64
_COUNTS = 2048  # of ``group``'s, an expert's for each thread: 8 KiB
_ROUTE_THREADS = 128
_AT_ONCE = 8  # experts whose logits are summed together


@kernel
def route(
    router: Values,
    experts_per_token: int,
    tier: Tier,
    *,
    normalized: bool = True,
    norm: Norm | None = None,
    block_order: bool = False,
    bias: Values | None = None,
) -> tirx.PrimFunc:
    """Kernel: each token's ``experts_per_token`` experts of the largest logits, the first of equals, and their shares.

    Arguments: x ``[n, D]``, [norm weight], router ``[E, D]``, [bias ``[1, E]``], ids i32 ``[n, X]``, shares f32
    ``[n, X]``: the softmax over the chosen ones' logits, or over all if not ``normalized``. ``norm`` is folded in
    for decode, which has one token; its x may be in ``block_order``.
    """
    experts, columns = router.rows, router.columns
    threads, at_once = _ROUTE_THREADS, min(_AT_ONCE, experts)
    k = KernelBuilder("route")
    n: Index = 1 if norm else dynamic("n")
    x = k.buffer("x", (n, columns), "float32")
    norm_weight = norm.weight.bind(k, "norm") if norm else None
    w = router.bind(k, "router")
    b = bias.bind(k, "bias") if bias else None
    ids = k.output("ids", (n, experts_per_token), "int32")
    shares = k.output("shares", (n, experts_per_token), "float32")

    (row,), tid = k.launch([n], threads)
    logits = k.shared(experts, name="logits")
    count = at_once + (1 if norm else 0)
    sums = k.local(count, name="sums")
    with k.loop(-(-experts // at_once)) as batch:
        first = batch * at_once
        for s in range(count):
            k.store(sums, s, f32(0.0))
        with k.loop(T.ceildiv(columns // 4 - tid, threads)) as i:
            column = k.let((i * threads + tid) * 4, "column")
            at = k.let(offset4(column, columns) if block_order else column, "at")
            x4 = k.let(load4(x, row, at), "x4")
            if norm_weight is not None:
                k.store(sums, at_once, sums[at_once] + call("float32", "dot", x4, x4))
                x4 = k.let(x4 * norm_weight.four(k, column), "x4")
            for e in range(at_once):
                four = w.four(k, T.min(first + e, experts - 1), column)
                k.store(sums, e, sums[e] + call("float32", "dot", four, x4))
        totals = reduce_rows(k, tier, tid, sums, count, threads)
        with k.when(tid < at_once), k.when(first + tid < experts):
            scale: Expr = T.rsqrt(totals(at_once) / float(columns) + f32(norm.epsilon)) if norm else f32(1.0)
            logit = totals(tid) * scale
            k.store(logits, first + tid, logit if b is None else logit + b.one(k, 0, first + tid))
        k.barrier()
    with k.when(tid == 0):
        _select(k, logits, experts, experts_per_token, normalized, row, ids, shares)
    return k.finish()


def _select(
    k: KernelBuilder,
    logits: Buffer,
    experts: int,
    experts_per_token: int,
    normalized: bool,
    row: Expr,
    ids: Buffer,
    shares: Buffer,
) -> None:
    """One thread's search; a chosen expert's logit is overwritten."""
    best, top, total = (
        k.local(1, "int32", name="best"),
        k.local(experts_per_token, name="top"),
        k.local(1, name="total"),
    )
    if not normalized:
        k.store(total, 0, f32(0.0))
    for j in range(experts_per_token):
        k.store(best, 0, 0)
        with k.loop(experts - 1) as e, k.when(logits[e + 1] > logits[best[0]]):
            k.store(best, 0, e + 1)
        k.store(top, j, logits[best[0]])
        k.store(ids, [row, j], best[0])
        if j == 0 and not normalized:
            with k.loop(experts) as e:
                k.store(total, 0, total[0] + T.exp(logits[e] - top[0]))
        k.store(logits, best[0], f32(-3.0e38))
    if normalized:
        k.store(total, 0, f32(0.0))
    for j in reversed(range(experts_per_token)):  # the largest, which the others need, is first
        k.store(top, j, T.exp(top[j] - top[0]) if j else f32(1.0))
        if normalized:
            k.store(total, 0, total[0] + top[j])
    for j in range(experts_per_token):
        k.store(shares, [row, j], top[j] / total[0])


def tiles_of(n: Index, experts: int, experts_per_token: int, rows: int) -> Index:
    """Tiles of ``rows`` slots that hold every pair of ``n`` tokens, however they fall among the experts."""
    return (n * experts_per_token + experts * (rows - 1)) // rows


@kernel
def group(experts: int, experts_per_token: int, rows: int) -> tirx.PrimFunc:
    """Kernel: ids i32 ``[n, experts_per_token]`` → slots i32 ``[tiles * rows]``, of ``tiles_of`` tiles."""
    if experts > MAX_EXPERTS:
        raise ValueError(f"{experts} experts; there is room for {MAX_EXPERTS}")
    threads = next(count for count in (64, 32, 16, 8, 4) if experts * count <= _COUNTS)
    k = KernelBuilder("group")
    n = dynamic("n")
    ids = k.buffer("ids", (n, experts_per_token), "int32")
    size = tiles_of(n, experts, experts_per_token, rows) * rows
    slots = k.output("slots", (size,), "int32")
    _, tid = k.launch([1], threads)
    # counts[e * threads + t]: first how many of thread t's pairs expert e has, then the slot of its next one
    counts = k.shared(experts * threads, "int32", name="counts")
    ends = k.shared(experts, "int32", name="ends")
    per_thread = k.let(T.ceildiv(n * experts_per_token, threads), "share")
    first = k.let(tid * per_thread, "first")
    mine = k.let(T.max(T.min(n * experts_per_token - first, per_thread), 0), "mine")

    def counter(pair: Expr) -> Expr:
        return k.let(ids[pair // experts_per_token, pair % experts_per_token] * threads + tid, "counter")

    with k.loop(experts) as e:  # a loop: SwiftShader compiles hundreds of stores for minutes
        k.store(counts, e * threads + tid, 0)
    with k.loop(mine) as i:
        at = counter(first + i)
        k.store(counts, at, counts[at] + 1)
    k.barrier()
    running, saved = k.local(1, "int32", name="running"), k.local(1, "int32", name="kept")
    with k.loop(T.ceildiv(experts - tid, threads)) as step:
        expert = k.let(step * threads + tid, "expert")
        k.store(running, 0, 0)
        with k.loop(threads) as t:
            at = expert * threads + t
            k.store(saved, 0, counts[at])
            k.store(counts, at, running[0])
            k.store(running, 0, running[0] + saved[0])
        k.store(ends, expert, running[0])
    k.barrier()
    # every thread walks the experts: where each begins, and what its pairs leave of its last tile
    k.store(running, 0, 0)
    with k.loop(experts) as e:
        at = e * threads + tid
        k.store(counts, at, counts[at] + running[0])
        k.store(saved, 0, running[0] + ends[e])
        k.store(running, 0, running[0] + T.ceildiv(ends[e], rows) * rows)
        with k.loop(T.max(T.ceildiv(running[0] - saved[0] - tid, threads), 0)) as i:
            k.store(slots, saved[0] + tid + i * threads, -1)
    with k.loop(T.max(T.ceildiv(size - running[0] - tid, threads), 0)) as i:
        k.store(slots, running[0] + tid + i * threads, -1)
    with k.loop(mine) as i:
        at = counter(first + i)
        k.store(slots, counts[at], first + i)
        k.store(counts, at, counts[at] + 1)
    return k.finish()


@kernel
def combine(width: int, experts_per_token: int) -> tirx.PrimFunc:
    """Kernel ``y[n, D] = residual + sum over its experts of shares * pairs``.

    Arguments: pairs ``[n * X, D]``, shares ``[n, X]``, residual ``[n, D]``, y.
    """
    k = KernelBuilder("combine")
    n = dynamic("n")
    pairs = k.buffer("pairs", (n * experts_per_token, width), "float32")
    shares = k.buffer("shares", (n, experts_per_token), "float32")
    residual = k.buffer("residual", (n, width), "float32")
    y = k.output("y", (n, width), "float32")
    quads = width // 4
    (wg, row), tid = k.launch([T.ceildiv(quads, _THREADS), n], _THREADS)
    column = k.let((wg * _THREADS + tid) * 4, "column")
    with k.when(column < width):
        total = load4(residual, row, column)
        for j in range(experts_per_token):
            total = total + splat(shares[row, j]) * load4(pairs, row * experts_per_token + j, column)
        k.store(y, [row, ramp4(column)], total)
    return k.finish()
