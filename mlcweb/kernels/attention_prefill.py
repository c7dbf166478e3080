"""Prefill attention: RoPE and cache append for a chunk, then tiled flash attention over the paged KV cache.

A workgroup owns a few rows, a row being a (query, head of the group) pair of one KV head, and walks the context in
blocks of 32 tokens; a thread makes 4 x 4 scores, then 4 rows of its share of the value dimensions.
"""

from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.kernels.builder import KernelBuilder, cast, dynamic, f32, kernel, lane, load4, ramp4, splat
from mlcweb.kernels.cache import HeadLayout, key_index, page_of, rope_shapes, rotate4, slot_of, value_index
from mlcweb.kernels.tier import Tier

THREADS = 64
ROWS = 16  # of a workgroup of flash attention; few, so that a short chunk of a small model fills a GPU
TOKENS = 32
_LOADS = 2  # vectors of each query and key in flight at once
_MINUS_INFINITY = -1.0e30


@kernel
def rope_append(layout: HeadLayout, context: int, tier: Tier) -> tirx.PrimFunc:
    """Kernel: queries ``[n, H * D]``, rotated and scaled by 1/sqrt(D); rotated keys, and values, to the cache.

    Arguments: qkv ``[n, (H + 2 KV) * D]``, RoPE tables, state, page_table, kv (written), queries.
    """
    d, half = layout.head_dim, layout.head_dim // 2
    heads, kv_heads = layout.heads, layout.kv_heads
    k = KernelBuilder("rope_append")
    n = dynamic("n")
    qkv = k.buffer("qkv", (n, (heads + 2 * kv_heads) * d), "float32")
    coarse_shape, fine_shape = rope_shapes(d, context)
    coarse = k.buffer("rope_coarse", coarse_shape, "float32")
    fine = k.buffer("rope_fine", fine_shape, "float32")
    state = k.buffer("state", (8,), "int32")
    table = k.buffer("page_table", (layout.pages,), "int32")
    kv = k.buffer("kv", layout.page_shape, tier.kv_dtype)
    queries = k.buffer("queries", (n, heads * d), "float32")

    items = (heads + 2 * kv_heads) * half // 4  # a thread rotates four pairs, or copies eight values
    (wg, row), tid = k.launch([T.ceildiv(items, THREADS), n], THREADS)
    item = k.let(wg * THREADS + tid, "item")
    with k.when(item < items):
        head, pair = k.let(item // (half // 4), "head"), k.let((item % (half // 4)) * 4, "pair")
        position = k.let(state[0] + row, "position")
        page, slot = k.let(page_of(table, position), "page"), k.let(slot_of(position), "slot")
        low = k.let(load4(qkv, row, head * d + pair), "low")
        high = k.let(load4(qkv, row, head * d + half + pair), "high")
        with k.when(head < heads + kv_heads):
            first, second = rotate4(k, low, high, coarse, fine, position, pair, d)
            with k.when(head < heads):
                scale = splat(f32(d**-0.5))
                k.store(queries, [row, ramp4(head * d + pair)], first * scale)
                k.store(queries, [row, ramp4(head * d + half + pair)], second * scale)
            with k.when(head >= heads):
                for quad, value in ((pair // 4, first), ((pair + half) // 4, second)):
                    index = ramp4(key_index(layout, slot, quad))
                    k.store(kv, [page, 0, head - heads, index], cast(f"{tier.kv_dtype}x4", value))
        with k.when(head >= heads + kv_heads):
            for dim, value in ((pair, low), (pair + half, high)):
                index = ramp4(value_index(layout, slot, dim))
                k.store(kv, [page, 1, head - heads - kv_heads, index], cast(f"{tier.kv_dtype}x4", value))
    return k.finish()


@kernel
def flash_attention(
    layout: HeadLayout, tier: Tier, *, tile_rows: int = ROWS, loads: int = _LOADS
) -> tirx.PrimFunc:
    """Kernel ``attention[n, H * D]``: causal softmax(q kᵀ) v of a chunk that begins at ``state[0]``.

    Arguments: queries ``[n, H * D]``, state, page_table, kv, attention.
    """
    d, group, quads = layout.head_dim, layout.group, layout.head_dim // 4
    k = KernelBuilder("flash_attention")
    n = dynamic("n")
    queries = k.buffer("queries", (n, layout.heads * d), "float32")
    state = k.buffer("state", (8,), "int32")
    table = k.buffer("page_table", (layout.pages,), "int32")
    kv = k.buffer("kv", layout.page_shape, tier.kv_dtype)
    out = k.buffer("attention", (n, layout.heads * d), "float32")

    (tile, head), tid = k.launch([T.ceildiv(n * group, tile_rows), layout.kv_heads], tile_rows * 2)
    tx, ty = k.let(tid % 8, "tx"), k.let(tid // 8, "ty")
    weights = k.shared(tile_rows * TOKENS, name="weights")
    tops = k.shared(tile_rows * 8, name="tops")
    base = k.let(state[0], "base")
    rows, columns, limits = [], [], []
    for i in range(4):
        flat = k.let(T.min(tile * tile_rows + ty * 4 + i, n * group - 1), "flat")
        rows.append(k.let(flat // group, "row"))
        columns.append(k.let((head * group + flat % group) * d, "column"))
        limits.append(k.let(base + rows[i], "limit"))  # the last token that this row sees
    last_row = k.let(T.min(tile * tile_rows + tile_rows, n * group) - 1, "last_row")
    end = k.let(base + last_row // group + 1, "end")

    shares = -(-quads // 8)  # vectors of four value dimensions a thread keeps for each of its rows
    maximum, total = k.local(4, name="maximum"), k.local(4, name="total")
    sums = k.local(4 * shares, "float32x4", name="sums")
    scores, new = k.local(4, "float32x4", name="scores"), k.local(4, name="raised")
    for i in range(4):
        k.store(maximum, i, f32(_MINUS_INFINITY))
        k.store(total, i, f32(0.0))
        for j in range(shares):
            k.store(sums, i * shares + j, splat(f32(0.0)))

    with k.loop(T.ceildiv(end, TOKENS)) as block:
        first = k.let(block * TOKENS + tx * 4, "first")  # this thread's four tokens are in one page
        page = k.let(page_of(table, T.min(first, end - 1)), "page")
        slot = k.let(slot_of(first), "slot")
        for i in range(4):
            k.store(scores, i, splat(f32(0.0)))
        with k.loop(quads // loads) as step:
            fetched = []
            for u in range(loads):
                quad = k.let(step * loads + u, "quad")
                q = [k.let(load4(queries, rows[i], columns[i] + quad * 4), "q") for i in range(4)]
                at = [key_index(layout, slot + t, quad) for t in range(4)]
                keys = [k.let(cast("float32x4", load4(kv, page, 0, head, index)), "key") for index in at]
                fetched.append((q, keys))
            # transposed, so that a row's four scores are one vector
            for q, keys in fetched:
                for c in range(4):
                    across = k.let(T.Shuffle([lane(key, c) for key in keys], [0, 1, 2, 3]), "across")
                    for i in range(4):
                        k.store(scores, i, scores[i] + splat(lane(q[i], c)) * across)
        for i in range(4):
            masked = [
                T.Select(first + t <= limits[i], lane(scores[i], t), f32(_MINUS_INFINITY)) for t in range(4)
            ]
            k.store(scores, i, T.Shuffle(masked, [0, 1, 2, 3]))
            top = T.max(
                T.max(lane(scores[i], 0), lane(scores[i], 1)), T.max(lane(scores[i], 2), lane(scores[i], 3))
            )
            k.store(tops, (ty * 4 + i) * 8 + tx, top)
        k.barrier()
        for i in range(4):
            top = maximum[i]
            for j in range(8):
                top = T.max(top, tops[(ty * 4 + i) * 8 + j])
            k.store(new, i, top)
            rescale = k.let(T.exp(maximum[i] - new[i]), "rescale")
            k.store(total, i, total[i] * rescale)
            for j in range(shares):
                k.store(sums, i * shares + j, sums[i * shares + j] * splat(rescale))
            k.store(maximum, i, new[i])
            k.store(weights, ramp4((ty * 4 + i) * TOKENS + tx * 4), T.exp(scores[i] - splat(new[i])))
        k.barrier()
        _accumulate(k, layout, block, end, ty, tx, table, kv, head, weights, sums, total, shares)
        k.barrier()

    for i in range(4):
        with k.when(tile * tile_rows + ty * 4 + i < n * group):
            for j in range(shares):
                quad = tx + j * 8
                with k.when(quad < quads):
                    k.store(
                        out, [rows[i], ramp4(columns[i] + quad * 4)], sums[i * shares + j] / splat(total[i])
                    )
    return k.finish()


def _accumulate(
    k: KernelBuilder,
    layout: HeadLayout,
    block: Any,
    end: Any,
    ty: Any,
    tx: Any,
    table: Any,
    kv: Any,
    head: Any,
    weights: Any,
    sums: Any,
    total: Any,
    shares: int,
) -> None:
    """``sums += weights @ values`` for the block, four tokens at a time."""
    quads = layout.head_dim // 4
    with k.loop(T.ceildiv(T.min(end - block * TOKENS, TOKENS), 4)) as step:
        w = [k.let(load4(weights, (ty * 4 + i) * TOKENS + step * 4), "w") for i in range(4)]
        first = k.let(block * TOKENS + step * 4, "first")
        page, slot = k.let(page_of(table, T.min(first, end - 1)), "page"), k.let(slot_of(first), "slot")
        for t in range(4):
            for j in range(shares):
                dim = T.min(tx + j * 8, quads - 1) * 4
                value = k.let(
                    cast("float32x4", load4(kv, page, 1, head, value_index(layout, slot + t, dim))), "value"
                )
                for i in range(4):
                    k.store(sums, i * shares + j, sums[i * shares + j] + splat(lane(w[i], t)) * value)
            for i in range(4):
                k.store(total, i, total[i] + lane(w[i], t))
