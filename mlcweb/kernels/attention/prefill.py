"""Prefill attention: RoPE and cache append for a chunk, then tiled flash attention over the paged KV cache.

A workgroup owns 32 rows, a row being a (query, head of the group) pair of one KV head, and walks the context in
blocks of 64 tokens; queries, keys, weights and values pass through workgroup memory, transposed for register tiles.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.contract.constants import State
from mlcweb.kernels.attention.scores import Scores
from mlcweb.kernels.language.builder import (
    KernelBuilder,
    call,
    dynamic,
    f32,
    kernel,
    lane,
    load4,
    ramp4,
    splat,
)
from mlcweb.kernels.layouts.kv_cache import (
    PAGE_SIZE,
    HeadLayout,
    KVCache,
    bind_new_tokens,
    page_of,
    rotate4,
    slot_of,
)
from mlcweb.kernels.products.outputs import soft_cap

THREADS = 64
ROWS = 32  # of a workgroup of flash attention; few, so that a short chunk of a small model fills a GPU
TOKENS = 64
_DEPTH = 16  # dimensions staged at a time for the scores
_MINUS_INFINITY = -1.0e30


@kernel
def rope_append(layout: HeadLayout, context: int, scale: float) -> tirx.PrimFunc:
    """Kernel: queries ``[n, H * D]``, rotated and times ``scale``; rotated keys, and values, to the cache.

    Arguments: qkv ``[n, (H + 2 KV) * D]``, RoPE tables, state, page_table, kv (written), queries.
    """
    d, half = layout.head_dim, layout.head_dim // 2
    heads, kv_heads = layout.heads, layout.kv_heads
    k = KernelBuilder("rope_append")
    n = dynamic("n")
    qkv, coarse, fine, state, table, kv = bind_new_tokens(k, layout, context, n, fours=True)
    queries = k.buffer("queries", (n, heads * d), "float32")

    items = (heads + 2 * kv_heads) * half // 4  # a thread rotates four pairs, or copies eight values
    (wg, row), tid = k.launch([T.ceildiv(items, THREADS), n], THREADS)
    item = k.let(wg * THREADS + tid, "item")
    with k.when(item < items):
        head, pair = k.let(item // (half // 4), "head"), k.let((item % (half // 4)) * 4, "pair")
        position = k.let(state[State.POSITION] + row, "position")
        page, slot = k.let(page_of(table, position), "page"), k.let(slot_of(position), "slot")
        low = k.let(load4(qkv, row, head * d + pair), "low")
        high = k.let(load4(qkv, row, head * d + half + pair), "high")
        with k.when(head < heads + kv_heads):
            first, second = rotate4(k, low, high, coarse, fine, position, pair, d)
            with k.when(head < heads):
                factor = splat(f32(scale))
                k.store(queries, [row, ramp4(head * d + pair)], first * factor)
                k.store(queries, [row, ramp4(head * d + half + pair)], second * factor)
            with k.when(head >= heads):
                kv.store_key4(page, head - heads, slot, pair // 4, first)
                kv.store_key4(page, head - heads, slot, (pair + half) // 4, second)
        with k.when(head >= heads + kv_heads):
            kv_head = head - heads - kv_heads
            kv.store_value4(page, kv_head, slot, pair // 4, low)
            kv.store_value4(page, kv_head, slot, (pair + half) // 4, high)
    return k.finish()


@kernel
def flash_attention(layout: HeadLayout, how: Scores) -> tirx.PrimFunc:
    """Kernel ``attention[n, H * D]``: causal softmax(q kᵀ) v of a chunk that begins at ``state``'s position.

    Arguments: queries ``[n, H * D]``, scaled already, state, page_table, kv, attention. FlashAttention's online
    softmax (https://arxiv.org/abs/2205.14135) over register tiles: a thread makes 4 x 8 scores, then 4 rows of its
    share of the dimensions.
    """
    d, group, quads = layout.head_dim, layout.group, layout.head_dim // 4
    most = PAGE_SIZE if d <= 128 else PAGE_SIZE // 2  # tokens whose values are staged at a time, in 16 KiB
    k = KernelBuilder("flash_attention")
    n = dynamic("n")
    queries = k.buffer("queries", (n, layout.heads * d), "float32")
    state = k.buffer("state", (State.WORDS,), "int32")
    table = k.buffer("page_table", (layout.pages,), "int32")
    kv = KVCache(k, layout, fours=True)
    out = k.buffer("attention", (n, layout.heads * d), "float32")

    tiles = T.ceildiv(n * group, ROWS)
    (wg, head), tid = k.launch([tiles, layout.kv_heads], THREADS)
    tx, ty = k.let(tid % 8, "tx"), k.let(tid // 8, "ty")
    row0 = k.let((tiles - 1 - wg) * ROWS, "row0")  # the longest first, so that none is left alone at the end
    base = k.let(state[State.POSITION], "base")

    def flat(row: Any) -> Any:
        return T.min(row0 + row, n * group - 1)

    def offset(flat_row: Any) -> Any:
        return (head * group + flat_row % group) * d

    last = k.let(flat(ROWS - 1) // group, "last")
    end = k.let(base + last + 1, "end")
    tile = k.shared(max(_DEPTH * (ROWS + TOKENS), most * (ROWS + d)), name="tile")
    tops = k.shared(ROWS * 8, name="tops")
    shares = -(-quads // 8)  # vectors of four dimensions that a thread keeps for each of its rows
    maximum, total = k.local(4, name="maximum"), k.local(4, name="total")
    sums = k.local(4 * shares, "float32x4", name="sums")
    scores = k.local(8, "float32x4", name="scores")
    for i in range(4):
        k.store(maximum, i, f32(_MINUS_INFINITY))
        k.store(total, i, f32(0.0))
        for j in range(shares):
            k.store(sums, i * shares + j, splat(f32(0.0)))

    # a page's first token, as four tokens of a block are to share a page
    begin = how.begin(k, base + flat(0) // group, PAGE_SIZE)
    with k.loop(T.ceildiv(end - begin, TOKENS)) as block:
        start = k.let(begin + block * TOKENS, "start")
        for i in range(8):
            k.store(scores, i, splat(f32(0.0)))
        with k.loop(d // _DEPTH) as step:
            _stage_scores(k, layout, queries, kv, table, head, start, end, step, tid, tile, flat, offset)
            with k.loop(_DEPTH) as depth:
                q = k.let(load4(tile, depth * ROWS + ty * 4), "q")
                keys = [
                    k.let(load4(tile, _DEPTH * ROWS + depth * TOKENS + h * 32 + tx * 4), "key")
                    for h in (0, 1)
                ]
                for i in range(4):
                    for h in (0, 1):
                        at = i * 2 + h
                        k.store(scores, at, scores[at] + splat(lane(q, i)) * keys[h])
        if how.cap is not None:
            for i in range(8):
                k.store(scores, i, soft_cap(scores[i], how.cap, lanes=4))
        ragged = start + TOKENS > base + flat(0) // group + 1  # some row does not see all of the block
        if how.window is not None:
            ragged = T.Or(ragged, base + last - start >= how.window)
        # a row that sees nothing of its first blocks forgets what it took of them once its maximum rises
        with k.when(ragged):
            for i in range(4):
                limit = k.let(base + flat(ty * 4 + i) // group, "limit")
                for h in (0, 1):
                    first, value = start + h * 32 + tx * 4, scores[i * 2 + h]
                    seen = [
                        T.Select(how.sees(limit, first + t), lane(value, t), f32(_MINUS_INFINITY))
                        for t in range(4)
                    ]
                    k.store(scores, i * 2 + h, T.Shuffle(seen, [0, 1, 2, 3]))
        for i in range(4):
            top = k.let(call("float32x4", "max", scores[i * 2], scores[i * 2 + 1]), "top")
            k.store(
                tops,
                (ty * 4 + i) * 8 + tx,
                T.max(T.max(lane(top, 0), lane(top, 1)), T.max(lane(top, 2), lane(top, 3))),
            )
        k.barrier()
        raised = k.local(1, name="raised")
        for i in range(4):
            k.store(raised, 0, maximum[i])
            for j in range(8):
                k.store(raised, 0, T.max(raised[0], tops[(ty * 4 + i) * 8 + j]))
            rescale = k.local(1, name="rescale")
            k.store(rescale, 0, T.exp(maximum[i] - raised[0]))
            k.store(maximum, i, raised[0])
            for h in (0, 1):
                k.store(scores, i * 2 + h, T.exp(scores[i * 2 + h] - splat(raised[0])))
            mine = call("float32", "dot", scores[i * 2] + scores[i * 2 + 1], splat(f32(1.0)))
            k.store(total, i, total[i] * rescale[0] + mine)
            for j in range(shares):
                k.store(sums, i * shares + j, sums[i * shares + j] * splat(rescale[0]))
        with k.loop(T.min(T.ceildiv(end - start, most), TOKENS // most)) as part:
            _stage_values(k, layout, kv, table, head, start + part * most, end, part, most, tid, scores, tile)
            with k.loop(most) as token:
                weight = k.let(load4(tile, token * ROWS + ty * 4), "weight")
                for j in range(shares):
                    quad = T.min(tx + j * 8, quads - 1)
                    value = k.let(load4(tile, most * ROWS + token * d + quad * 4), "value")
                    for i in range(4):
                        at = i * shares + j
                        k.store(sums, at, sums[at] + splat(lane(weight, i)) * value)

    k.barrier()  # the last block's maxima have been read
    for i in range(4):
        k.store(tops, (ty * 4 + i) * 8 + tx, total[i])
    k.barrier()
    for i in range(4):
        k.store(total, i, f32(0.0))
        for j in range(8):
            k.store(total, i, total[i] + tops[(ty * 4 + i) * 8 + j])
        with k.when(row0 + ty * 4 + i < n * group):
            row = k.let(flat(ty * 4 + i), "row")
            for j in range(shares):
                quad = tx + j * 8
                with k.when(quad < quads):
                    index = ramp4(offset(row) + quad * 4)
                    k.store(out, [row // group, index], sums[i * shares + j] / splat(total[i]))
    return k.finish()


def _stage_scores(
    k: KernelBuilder,
    layout: HeadLayout,
    queries: Any,
    kv: KVCache,
    table: Any,
    head: Any,
    start: Any,
    end: Any,
    step: Any,
    tid: Any,
    tile: Any,
    flat: Callable[[Any], Any],
    offset: Callable[[Any], Any],
) -> None:
    """``tile``: 16 dimensions of the queries ``[16, ROWS]`` and of the block's keys ``[16, TOKENS]``, transposed."""
    group, quads = layout.group, _DEPTH // 4
    q, keys = k.local(4, "float32x4", name="q"), k.local(4, "float32x4", name="keys")
    quad, fours = k.let(tid % quads, "quad"), k.let(tid // quads, "fours")
    with k.when(tid < quads * ROWS // 4):
        for i in range(4):
            row = k.let(flat(fours * 4 + i), "row")
            k.store(q, i, load4(queries, row // group, offset(row) + (step * quads + quad) * 4))
    key_quad, token4 = k.let(tid // (TOKENS // 4), "key_quad"), k.let(tid % (TOKENS // 4), "token4")
    first = k.let(start + token4 * 4, "first")  # four tokens of one page
    page, slot = k.let(page_of(table, T.min(first, end - 1)), "page"), k.let(slot_of(first), "slot")
    for i in range(4):
        k.store(keys, i, kv.key4(page, head, slot + i, step * quads + key_quad))
    k.barrier()
    with k.when(tid < quads * ROWS // 4):
        for c in range(4):
            k.store(tile, ramp4((quad * 4 + c) * ROWS + fours * 4), _across(q, c))
    for c in range(4):
        k.store(tile, ramp4(_DEPTH * ROWS + (key_quad * 4 + c) * TOKENS + token4 * 4), _across(keys, c))
    k.barrier()


def _stage_values(
    k: KernelBuilder,
    layout: HeadLayout,
    kv: KVCache,
    table: Any,
    head: Any,
    first: Any,
    end: Any,
    part: Any,
    most: int,
    tid: Any,
    scores: Any,
    tile: Any,
) -> None:
    """``tile``: the weights of ``most`` tokens, transposed ``[most, ROWS]``, and their values ``[most, D]``."""
    quads = layout.head_dim // 4
    tx, ty = tid % 8, tid // 8
    items = most * quads
    values = k.local(-(-items // THREADS), "float32x4", name="values")
    page, slot = k.let(page_of(table, T.min(first, end - 1)), "page"), k.let(slot_of(first), "slot")
    for i in range(0, items, THREADS):
        item = T.min(tid + i, items - 1)
        k.store(values, i // THREADS, kv.value4(page, head, slot + item // quads, item % quads))
    k.barrier()
    for i in range(0, items, THREADS):
        with _each(k, tid + i, items):
            k.store(tile, ramp4(most * ROWS + (tid + i) * 4), values[i // THREADS])
    # a thread has four tokens of either half of the block, so a part's are with a few threads, in one half
    lanes, parts = most // 4, TOKENS // 2 // most
    with k.when(tx // lanes == part % parts):
        for t in range(4):
            mine = [
                T.Select(part < parts, lane(scores[i * 2], t), lane(scores[i * 2 + 1], t)) for i in range(4)
            ]
            k.store(tile, ramp4((tx % lanes * 4 + t) * ROWS + ty * 4), T.Shuffle(mine, [0, 1, 2, 3]))
    k.barrier()


def _each(k: KernelBuilder, item: Any, items: int) -> AbstractContextManager[None]:
    """A branch for the threads that have an item, and none where all have."""
    return nullcontext() if items % THREADS == 0 else k.when(item < items)


def _across(vectors: Any, c: int) -> Any:
    """Lane c of four vectors."""
    return T.Shuffle([lane(vectors[i], c) for i in range(4)], [0, 1, 2, 3])
