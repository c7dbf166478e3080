"""Rotates new queries and keys before attention, and appends keys and values to the KV cache."""

from tvm import tirx

from mlcweb.contract.constants import State
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.language.builder import KernelBuilder, dynamic, kernel, load4, ramp4, splat
from mlcweb.kernels.language.expr import T
from mlcweb.kernels.layouts.kv_cache import (
    HeadLayout,
    NewTokens,
    page_of,
    rope_shapes,
    rotate4,
    slot_of,
)

THREADS = 64


@kernel
def rope_append(layout: HeadLayout, context: int, scoring: Scoring, *, angles: bool = False) -> tirx.PrimFunc:
    """Kernel: queries ``[n, H * P]``, rotated and scaled; rotated keys, and values, to the KV cache.

    Arguments: qkv ``[n, (H + 2 J) * P]``, RoPE tables, or ``angles`` in their place, state, page_table, kv (written),
    queries.
    """
    head_dim, half = layout.head_dim, layout.head_dim // 2
    heads, kv_heads = layout.heads, layout.kv_heads
    k = KernelBuilder("rope_append")
    n = dynamic("n")
    new = NewTokens.bind(k, layout, context, n, fours=True, angles=angles)
    qkv, kv = new.qkv, new.kv
    queries = k.output("queries", (n, heads * head_dim), "float32")

    items = (heads + 2 * kv_heads) * half // 4  # a thread rotates four pairs, or copies eight values
    (wg, row), tid = k.launch([T.ceildiv(items, THREADS), n], THREADS)
    item = k.let(wg * THREADS + tid, "item")
    with k.when(item < items):
        head, pair = k.let(item // (half // 4), "head"), k.let((item % (half // 4)) * 4, "pair")
        position = k.let(new.state[State.POSITION] + row, "position")
        page, slot = k.let(page_of(new.table, position), "page"), k.let(slot_of(position), "slot")
        low = k.let(load4(qkv, row, head * head_dim + pair), "low")
        high = k.let(load4(qkv, row, head * head_dim + half + pair), "high")
        with k.when(head < heads + kv_heads):
            first, second = new.turn4(k, low, high, row, position, pair, head_dim)
            with k.when(head < heads):
                factor = splat(scoring.scale_at(position))
                k.store(queries, [row, ramp4(head * head_dim + pair)], first * factor)
                k.store(queries, [row, ramp4(head * head_dim + half + pair)], second * factor)
            with k.when(head >= heads):
                kv.store_key4(page, head - heads, slot, pair // 4, first)
                kv.store_key4(page, head - heads, slot, (pair + half) // 4, second)
        with k.when(head >= heads + kv_heads):
            kv_head = head - heads - kv_heads
            kv.store_value4(page, kv_head, slot, pair // 4, low)
            kv.store_value4(page, kv_head, slot, (pair + half) // 4, high)
    return k.finish()


@kernel
def rope_queries(layout: HeadLayout, context: int, scoring: Scoring) -> tirx.PrimFunc:
    """Kernel: queries ``[n, H * P]``, rotated and scaled, of a layer that has queries alone.

    Arguments: qkv ``[n, H * P]``, RoPE tables, state, queries.
    """
    head_dim, half, heads = layout.head_dim, layout.head_dim // 2, layout.heads
    k = KernelBuilder("rope_queries")
    n = dynamic("n")
    qkv = k.buffer("qkv", (n, heads * head_dim), "float32")
    coarse, fine = (
        k.buffer(f"rope_{name}", shape, "float32")
        for name, shape in zip(("coarse", "fine"), rope_shapes(head_dim, context), strict=True)
    )
    state = k.buffer("state", (State.WORDS,), "int32")
    queries = k.output("queries", (n, heads * head_dim), "float32")

    items = heads * half // 4
    (wg, row), tid = k.launch([T.ceildiv(items, THREADS), n], THREADS)
    item = k.let(wg * THREADS + tid, "item")
    with k.when(item < items):
        head, pair = k.let(item // (half // 4), "head"), k.let((item % (half // 4)) * 4, "pair")
        position, column = k.let(state[State.POSITION] + row, "position"), head * head_dim + pair
        low = k.let(load4(qkv, row, column), "low")
        high = k.let(load4(qkv, row, column + half), "high")
        first, second = rotate4(k, low, high, coarse, fine, position, pair, head_dim)
        factor = splat(scoring.scale_at(position))
        k.store(queries, [row, ramp4(column)], first * factor)
        k.store(queries, [row, ramp4(column + half)], second * factor)
    return k.finish()


@kernel
def append(layout: HeadLayout, context: int, *, shifted: bool = False) -> tirx.PrimFunc:
    """Kernel: one token's rotated key, and its value, to the KV cache; ``shifted``: RoPE's position has a shift.

    Arguments: qkv ``[1, (H + 2 J) * P]``, RoPE tables, state, page_table, kv (written).
    """
    head_dim, half = layout.head_dim, layout.head_dim // 2
    k = KernelBuilder("append")
    new = NewTokens.bind(k, layout, context, fours=True)
    (head,), tid = k.launch([layout.kv_heads], THREADS)
    position = k.let(new.state[State.POSITION], "position")
    turned = new.turned(k, position) if shifted else position
    page, slot = k.let(page_of(new.table, position), "page"), k.let(slot_of(position), "slot")
    key = k.let((layout.heads + head) * head_dim, "key")
    value = k.let((layout.heads + layout.kv_heads + head) * head_dim, "value")
    with k.loop(T.ceildiv(half // 4 - tid, THREADS)) as i:
        pair = k.let((i * THREADS + tid) * 4, "pair")
        low = k.let(load4(new.qkv, 0, key + pair), "low")
        high = k.let(load4(new.qkv, 0, key + pair + half), "high")
        first, second = rotate4(k, low, high, new.coarse, new.fine, turned, pair, head_dim)
        new.kv.store_key4(page, head, slot, pair // 4, first)
        new.kv.store_key4(page, head, slot, (pair + half) // 4, second)
    with k.loop(T.ceildiv(head_dim // 4 - tid, THREADS)) as i:
        quad = k.let(i * THREADS + tid, "quad")
        four = k.let(load4(new.qkv, 0, value + quad * 4), "four")
        new.kv.store_value4(page, head, slot, quad, four)
    return k.finish()
