"""Rotates a chunk's queries and keys before prefill's attention, and appends keys and values to the KV cache."""

from tvm import tirx

from mlcweb.contract.constants import State
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.language.builder import KernelBuilder, dynamic, kernel, load4, ramp4, splat
from mlcweb.kernels.language.expr import T
from mlcweb.kernels.layouts.kv_cache import HeadLayout, NewTokens, page_of, rotate4, slot_of

THREADS = 64


@kernel
def rope_append(layout: HeadLayout, context: int, scoring: Scoring) -> tirx.PrimFunc:
    """Kernel: queries ``[n, H * P]``, rotated and scaled; rotated keys, and values, to the KV cache.

    Arguments: qkv ``[n, (H + 2 J) * P]``, RoPE tables, state, page_table, kv (written), queries.
    """
    head_dim, half = layout.head_dim, layout.head_dim // 2
    heads, kv_heads = layout.heads, layout.kv_heads
    k = KernelBuilder("rope_append")
    n = dynamic("n")
    new = NewTokens.bind(k, layout, context, n, fours=True)
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
            first, second = rotate4(k, low, high, new.coarse, new.fine, position, pair, head_dim)
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
