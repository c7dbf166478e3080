"""The gated delta rule on a prefill's tokens, chunk by chunk: ``delta_mix`` has the rule in this form."""

from __future__ import annotations

from tvm import tirx

from mlcweb.contract.constants import State
from mlcweb.kernels.language.builder import (
    KernelBuilder,
    call,
    dynamic,
    f32,
    kernel,
    load4,
    select,
    splat,
)
from mlcweb.kernels.language.expr import Buffer, Expr, Index, T
from mlcweb.kernels.recurrent.delta_mix import (
    CHUNK,
    KEPT,
    MIX,
    NUMBERS,
    OF_KEY,
    OF_QUERY,
    TO_LAST,
)
from mlcweb.kernels.recurrent.gated_delta import LANES, GatedDelta, load_state, load_value, store_state

THREADS = 64
ROWS = THREADS // LANES  # of the state, of a workgroup
_TURNS = CHUNK // LANES  # in which the threads of a row have a chunk's tokens
_TOGETHER = 4  # tokens whose loads do not wait for one another
_FOURS = 2 * CHUNK // 4  # of a token's row of both matrices
_ROWS_READ = CHUNK * _FOURS // THREADS  # fours of them that a thread reads


@kernel
def gated_delta_chunk(delta: GatedDelta) -> tirx.PrimFunc:
    """Kernel ``o[n, H * V]``, float32; the state moves on by n tokens. Arguments: qkv ``[n, width]``, mix
    ``[n, H * MIX]``, state, recurrent, o.

    A workgroup has 16 rows of a head's state in registers, four threads each, and goes through the chunks.
    """
    k, n = KernelBuilder("gated_delta_chunk"), dynamic("n")
    qkv = k.buffer("qkv", (n, delta.width), "float32")
    mix = k.buffer("mix", (n, delta.heads * MIX), "float32")
    state = k.buffer("state", (State.WORDS,), "int32")
    recurrent = k.in_place("recurrent", delta.state_shape, "float32")
    o = k.output("o", (n, delta.heads * delta.value_width), "float32")
    (wg, head), tid = k.launch([T.ceildiv(delta.value_width, ROWS), delta.heads], THREADS)

    lane, own = k.let(tid % LANES, "lane"), k.let(tid // LANES, "own")
    inside = k.let(wg * ROWS + own, "inside")
    present = inside < delta.value_width
    row = k.let(head * delta.value_width + T.min(inside, delta.value_width - 1), "row")
    query, key = k.let(delta.first_query(head), "query"), k.let(delta.first_key(head), "key")
    s = load_state(k, delta, recurrent, state, row, lane)
    products = k.shared(
        2 * CHUNK * THREADS, name="products"
    )  # of a thread's part of a row: with keys, with queries
    d, u, asked = (k.shared(CHUNK * ROWS, name=name) for name in ("d", "u", "asked"))
    matrices = k.shared(2 * CHUNK * CHUNK // 4, "float32x4", name="matrices")  # solved, then seen
    to_last = k.shared(CHUNK, name="to_last")
    # What a thread reads of a chunk before it waits for others.
    rows_read = k.local(_ROWS_READ, "float32x4", name="rows_read")
    numbers, values = k.local(_TURNS, "float32x4", name="numbers"), k.local(_TURNS, name="values")

    def product(i: Expr, of_queries: int) -> Expr:
        at = k.let((of_queries * CHUNK + i) * THREADS + tid - lane, "at")
        return products[at] + products[at + 1] + products[at + 2] + products[at + 3]

    def mixed(i: Expr, matrix: int, of: Buffer) -> Expr:
        """A row of a matrix times a column of ``of``."""
        total = k.local(1, name="total")
        k.store(total, 0, f32(0.0))
        with k.loop(CHUNK // 4) as j:
            weights = matrices[(matrix + i) * (CHUNK // 4) + j]
            column = T.Shuffle([of[(j * 4 + m) * ROWS + own] for m in range(4)], [0, 1, 2, 3])
            k.store(total, 0, total[0] + call("float32", "dot", weights, column))
        return total[0]

    with k.loop(T.ceildiv(n, CHUNK)) as chunk:
        first = k.let(chunk * CHUNK, "first")
        count = k.let(T.min(n - first, CHUNK), "count")

        def clamped(i: Index, first: Expr = first) -> Expr:
            """The row of a chunk's token; one after the last is not corrected, so it does not matter what it is."""
            return k.let(T.min(first + i, n - 1), "at")

        for i in range(_ROWS_READ):
            part = k.let(tid + i * THREADS, "part")
            row_of, four = clamped(part // _FOURS), k.let(part % _FOURS, "four")
            k.store(rows_read, i, load4(mix, row_of, head * MIX + four * 4))
        for m in range(_TURNS):
            at = clamped(m * LANES + lane)
            k.store(numbers, m, load4(mix, at, head * MIX + NUMBERS))
            k.store(values, m, load_value(k, delta, qkv, at, row))
        with k.loop(T.ceildiv(count, _TOGETHER)) as group:
            for i in range(_TOGETHER):
                token = k.let(group * _TOGETHER + i, "token")
                at = clamped(token)
                for of_queries, column in enumerate((key, query)):
                    total = splat(f32(0.0))
                    for j in range(delta.quads):
                        total = total + s[j] * load4(qkv, at, column + (j * LANES + lane) * 4)
                    total = call("float32", "dot", total, splat(f32(1.0)))
                    k.store(products, (of_queries * CHUNK + token) * THREADS + tid, total)
        k.barrier()
        for i in range(_ROWS_READ):
            part = k.let(tid + i * THREADS, "part")
            token, four = k.let(part // _FOURS, "token"), k.let(part % _FOURS, "four")
            matrix = k.let(four // (CHUNK // 4) * CHUNK, "matrix")
            k.store(matrices, (matrix + token) * (CHUNK // 4) + four % (CHUNK // 4), rows_read[i])
        for m in range(_TURNS):
            token = k.let(m * LANES + lane, "token")
            remembered = T.Shuffle([numbers[m]], [OF_KEY]) * product(token, 0)
            k.store(d, token * ROWS + own, select(token < count, values[m] - remembered, f32(0.0)))
            k.store(asked, token * ROWS + own, T.Shuffle([numbers[m]], [OF_QUERY]) * product(token, 1))
            with k.when(own == 0):
                k.store(to_last, token, T.Shuffle([numbers[m]], [TO_LAST]))
        k.barrier()
        with k.loop(_TURNS) as turn:
            token = k.let(turn * LANES + lane, "token")
            k.store(u, token * ROWS + own, select(token < count, mixed(token, 0, d), f32(0.0)))
        k.barrier()
        with k.loop(_TURNS) as turn:
            token = k.let(turn * LANES + lane, "token")
            with k.when(T.And(present, token < count)):
                k.store(o, [first + token, row], asked[token * ROWS + own] + mixed(token, CHUNK, u))
        kept = k.let(T.Shuffle([numbers[0]], [KEPT]), "kept")
        for j in range(delta.quads):
            k.store(s, j, s[j] * splat(kept))
        with k.loop(T.ceildiv(count, _TOGETHER)) as group:
            for i in range(_TOGETHER):
                token = k.let(group * _TOGETHER + i, "token")
                at, added = clamped(token), k.let(to_last[token] * u[token * ROWS + own], "added")
                for j in range(delta.quads):
                    four = load4(qkv, at, key + (j * LANES + lane) * 4)
                    k.store(s, j, s[j] + four * splat(added))
    store_state(k, delta, recurrent, row, lane, present, s)
    return k.finish()
