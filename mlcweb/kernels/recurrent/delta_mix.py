"""What the gated delta rule needs of a prefill's tokens before it knows the state: how those of a chunk mix.

With G_i the sum of the logarithms of a chunk's decays up to token i, the corrections u of ``gated_delta`` solve

    u_i + sum over j < i of b_i exp(G_i - G_j) (k_i k_j) u_j = b_i d_i,  d_i = v_i - exp(G_i) S^T k_i
    o_i = exp(G_i) S^T q_i + sum over j <= i of exp(G_i - G_j) (q_i k_j) u_j
    S   = exp(G_last) S + sum of exp(G_last - G_j) k_j u_j^T

(Yang et al.: Parallelizing Linear Transformers with the Delta Rule over Sequence Length, 2024.) So u = ``solved`` d
and o = exp(G) S^T q + ``seen`` u, with two lower triangular matrices that no state is in: all chunks have theirs at
once.
"""

from __future__ import annotations

from tvm import tirx

from mlcweb.kernels.language.builder import (
    KernelBuilder,
    call,
    dynamic,
    exp,
    f32,
    kernel,
    load4,
    select,
    splat,
)
from mlcweb.kernels.language.expr import Buffer, Expr, T
from mlcweb.kernels.recurrent.gated_delta import EPSILON, GatedDelta, beta_of, log_decay_of

CHUNK = 16  # tokens
SOLVED, SEEN, NUMBERS = 0, CHUNK, 2 * CHUNK  # where a token's row of each begins
# Its numbers: exp(G) / |k|, exp(G) K^-0.5 / |q|, exp(G_last - G) / |k|, exp(G_last).
OF_KEY, OF_QUERY, TO_LAST, KEPT = range(4)
MIX = NUMBERS + 4  # columns of a token and a head
THREADS = 128
_BLOCKS = CHUNK // 2  # of 2 x 2 pairs of tokens, in a row of all pairs
_LEAST = -40.0  # of a decay's logarithm: less is nothing beside 1, and would cost the sums their last digits


@kernel
def delta_mix(delta: GatedDelta) -> tirx.PrimFunc:
    """Kernel ``mix[n, H * MIX]``, float32. Arguments: qkv ``[n, width]``, ba ``[n, 2 H]``, rate, shift, mix.

    A workgroup has a chunk of a head.
    """
    k, n = KernelBuilder("delta_mix"), dynamic("n")
    qkv = k.buffer("qkv", (n, delta.width), "float32")
    ba = k.buffer("ba", (n, 2 * delta.heads), "float32")
    rate, shift = delta.rate.bind(k, "rate"), delta.shift.bind(k, "shift")
    mix = k.output("mix", (n, delta.heads * MIX), "float32")
    (chunk, head), tid = k.launch([T.ceildiv(n, CHUNK), delta.heads], THREADS)

    first = k.let(chunk * CHUNK, "first")
    pairs = k.shared(2 * CHUNK * CHUNK, name="pairs")  # keys with keys, then queries with keys
    solved = k.shared(CHUNK * CHUNK, name="solved")
    names = ("squares", "decays", "betas", "so_far", "of_key", "of_query")
    squares, decays, betas, so_far, of_key, of_query = (k.shared(CHUNK, name=name) for name in names)

    _multiply_pairs(k, delta, qkv, head, first, n, tid, pairs, squares)
    token = k.let(T.min(first + tid, n - 1), "token")
    with k.when(tid < CHUNK):  # a token after the last has no decay, and is not corrected
        exists = k.let(first + tid < n, "exists")
        log_decay = T.max(log_decay_of(k, delta, ba, rate, shift, token, head), f32(_LEAST))
        k.store(decays, tid, select(exists, log_decay, f32(0.0)))
        k.store(betas, tid, select(exists, beta_of(ba, token, head), f32(0.0)))
    k.barrier()

    with k.when(tid < CHUNK):
        sums = k.local(2, name="sums")
        for end in range(2):
            k.store(sums, end, f32(0.0))
        with k.loop(CHUNK) as j:
            for end, counts in enumerate((j <= tid, j > tid)):
                k.store(sums, end, sums[end] + select(counts, decays[j], f32(0.0)))
        k.store(so_far, tid, sums[0])
        k.store(of_key, tid, T.rsqrt(pairs[tid * (CHUNK + 1)] + f32(EPSILON)))
        k.store(of_query, tid, T.rsqrt(squares[tid] + f32(EPSILON)) * f32(delta.key_width**-0.5))
        grown, left = k.let(exp(sums[0]), "grown"), k.let(exp(sums[1]), "left")
        with k.when(first + tid < n):
            numbers = (grown * of_key[tid], grown * of_query[tid], left * of_key[tid], grown * left)
            for place, number in enumerate(numbers, NUMBERS):
                k.store(mix, [token, head * MIX + place], number)
    k.barrier()

    with k.loop(2 * CHUNK * CHUNK // THREADS) as m:
        pair = k.let(m * THREADS + tid, "pair")
        i, j = k.let(pair // CHUNK % CHUNK, "i"), k.let(pair % CHUNK, "j")
        of_keys = k.let(pair < CHUNK * CHUNK, "of_keys")
        scale = select(of_keys, betas[i] * of_key[i], of_query[i]) * of_key[j]
        decay = exp(T.min(so_far[i] - so_far[j], f32(0.0)))
        before = T.Or(j < i, T.And(j == i, T.Not(of_keys)))
        k.store(pairs, pair, select(before, pairs[pair] * scale * decay, f32(0.0)))
    k.barrier()

    with k.when(tid < CHUNK):  # a column each
        rest = k.local(1, name="rest")
        with k.loop(CHUNK) as i:
            k.store(rest, 0, select(i == tid, betas[tid], f32(0.0)))
            with k.loop(i) as j:
                k.store(rest, 0, rest[0] - pairs[i * CHUNK + j] * solved[j * CHUNK + tid])
            k.store(solved, i * CHUNK + tid, rest[0])
    k.barrier()
    with k.loop(CHUNK * CHUNK // THREADS) as m:
        pair = k.let(m * THREADS + tid, "pair")
        row, column = k.let(first + pair // CHUNK, "row"), k.let(head * MIX + pair % CHUNK, "column")
        with k.when(row < n):
            k.store(mix, [row, column + SOLVED], solved[pair])
            k.store(mix, [row, column + SEEN], pairs[CHUNK * CHUNK + pair])
    return k.finish()


def _multiply_pairs(
    k: KernelBuilder,
    delta: GatedDelta,
    qkv: Buffer,
    head: Expr,
    first: Expr,
    n: Expr,
    tid: Expr,
    pairs: Buffer,
    squares: Buffer,
) -> None:
    """Store the products of a chunk's keys with its keys, and of its queries with its keys, up to the token's own; and
    the squares of the queries' lengths. Half of the threads have the keys, a block of 2 x 2 each.
    """
    quads = delta.key_width // 4
    query = k.let(delta.first_query(head) // 4, "query")
    key = k.let(delta.first_key(head) // 4, "key")
    of_keys, block = k.let(tid < THREADS // 2, "of_keys"), k.let(tid % (THREADS // 2), "block")
    line, column = k.let(block // _BLOCKS * 2, "line"), k.let(block % _BLOCKS * 2, "column")
    with k.when(column <= line):
        left = k.let(select(of_keys, key, query), "left")
        lines = [k.let(T.min(first + line + i, n - 1), "at") for i in range(2)]
        columns = [k.let(T.min(first + column + i, n - 1), "at") for i in range(2)]
        sums, own = k.local(4, "float32x4", name="sums"), k.local(2, "float32x4", name="own")
        for buffer, size in ((sums, 4), (own, 2)):
            for i in range(size):
                k.store(buffer, i, splat(f32(0.0)))
        with k.loop(quads) as quad:
            a = [k.let(load4(qkv, at, (left + quad) * 4), "a") for at in lines]
            b = [k.let(load4(qkv, at, (key + quad) * 4), "b") for at in columns]
            for i in range(2):
                k.store(own, i, own[i] + a[i] * a[i])
                for j in range(2):
                    k.store(sums, i * 2 + j, sums[i * 2 + j] + a[i] * b[j])
        start = k.let(select(of_keys, 0, CHUNK * CHUNK), "start")
        for i in range(2):
            for j in range(2):
                at = start + (line + i) * CHUNK + column + j
                k.store(pairs, at, _sum(sums[i * 2 + j]))
        with k.when(T.And(column == line, T.Not(of_keys))):
            for i in range(2):
                k.store(squares, line + i, _sum(own[i]))


def _sum(four: Expr) -> Expr:
    return call("float32", "dot", four, splat(f32(1.0)))
