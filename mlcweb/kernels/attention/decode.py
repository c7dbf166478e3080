"""Decode attention over the paged KV cache, split over the context (flash-decoding), in two launches.

Launch one, a workgroup per (KV head, split): RoPE on the queries and the new key, the new key and value appended to
the cache by the split that owns the position, then online softmax over the split's tokens in blocks of 64, a thread
a token for the scores and a thread a word for the values. Launch two merges the splits.
"""

from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.contract.constants import State
from mlcweb.kernels.attention.scores import Scores
from mlcweb.kernels.language.builder import KernelBuilder, call, f32, kernel, lane, load4, ramp4, splat
from mlcweb.kernels.layouts.block_order import offset
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
SPLITS = 32
_MINUS_INFINITY = -1.0e30
_LANES = 16  # threads that reduce one head's block of scores


@kernel
def attend(layout: HeadLayout, context: int, how: Scores) -> tirx.PrimFunc:
    """Kernel: partial attention of one new token. Arguments: qkv ``[1, (H + 2 KV) * D]``, RoPE tables, state,
    page_table, kv (read and written), partial ``[H, SPLITS, D + 2]`` (weighted values, maximum, sum).
    """
    d, group, quads = layout.head_dim, layout.group, layout.head_dim // 4
    k = KernelBuilder("attend")
    qkv, coarse, fine, state, table, kv = bind_new_tokens(k, layout, context)
    partial = k.buffer("partial", (layout.heads, SPLITS, d + 2), "float32")

    (head, split), tid = k.launch([layout.kv_heads, SPLITS], THREADS)
    position = k.let(state[State.POSITION], "position")
    # whole pages, so that a block of 64 tokens is four pages
    origin = how.begin(k, position, PAGE_SIZE)
    pages = k.let(T.shift_right(position - origin, 4) + 1, "pages")
    share = k.let((pages + SPLITS - 1) // SPLITS * PAGE_SIZE, "share")
    begin = k.let(origin + split * share, "begin")
    end = k.let(T.min(begin + share, position + 1), "end")
    owner = k.let((position - origin) // share, "owner")

    queries = k.shared(group * d, name="queries")
    scores = k.shared(group * THREADS, name="scores")
    tops = k.shared(group * _LANES, name="tops")
    _rotate_queries(k, layout, how.scale, qkv, coarse, fine, position, head, tid, queries)
    _append(k, layout, qkv, coarse, fine, position, head, tid, split == owner, table, kv)
    k.barrier()
    k.storage_barrier()  # the owning split reads back the key and value that its other threads stored

    words = -(-layout.words // THREADS)  # words of the values that a thread keeps
    dims = words * layout.word
    maximum, total = k.local(group, name="maximum"), k.local(group, name="total")
    sums = k.local(group * dims, name="sums")
    score, rescale = k.local(group, name="score"), k.local(group, name="rescale")
    for g in range(group):
        k.store(maximum, g, f32(_MINUS_INFINITY))
        k.store(total, g, f32(0.0))
        for j in range(dims):
            k.store(sums, g * dims + j, f32(0.0))

    with k.loop(T.max(T.ceildiv(end - begin, THREADS), 0)) as block:
        start = k.let(begin + block * THREADS, "start")
        token = k.let(start + tid, "token")
        for g in range(group):
            k.store(score, g, f32(_MINUS_INFINITY))
        with k.when(T.And(token < end, how.sees(position, token)) if how.window else token < end):
            page, slot = k.let(page_of(table, token), "page"), k.let(slot_of(token), "slot")
            for g in range(group):
                k.store(score, g, f32(0.0))
            unroll = next(u for u in (8, 5, 4, 3, 2, 1) if quads % u == 0)  # loads in flight at once
            with k.loop(quads // unroll) as step:
                base = [k.let(step * unroll + u, "quad") for u in range(unroll)]
                keys = [k.let(kv.key4(page, head, slot, quad), "key") for quad in base]
                for quad, key in zip(base, keys, strict=True):
                    for g in range(group):
                        dot = call("float32", "dot", load4(queries, g * d + quad * 4), key)
                        k.store(score, g, score[g] + dot)
            if how.cap is not None:
                for g in range(group):
                    k.store(score, g, soft_cap(score[g], how.cap))
        for g in range(group):
            k.store(scores, g * THREADS + tid, score[g])
        k.barrier()
        _block_tops(k, group, tid, scores, tops)
        k.barrier()
        for g in range(group):
            top = maximum[g]
            for i in range(_LANES):
                top = T.max(top, tops[g * _LANES + i])
            new = k.local(1, name="raised")
            k.store(new, 0, top)
            k.store(rescale, g, T.exp(maximum[g] - new[0]))
            k.store(maximum, g, new[0])
            k.store(scores, g * THREADS + tid, T.exp(score[g] - new[0]))
            k.store(total, g, total[g] * rescale[g])
            for j in range(dims):
                k.store(sums, g * dims + j, sums[g * dims + j] * rescale[g])
        k.barrier()
        # a page at a time: its loads are in flight together; weights past the end are 0
        with k.loop(T.min(T.ceildiv(end - start, PAGE_SIZE), THREADS // PAGE_SIZE)) as i:
            page = k.let(page_of(table, start + i * PAGE_SIZE), "page")
            weights = [
                [k.let(load4(scores, g * THREADS + i * PAGE_SIZE + t), "w") for t in range(0, PAGE_SIZE, 4)]
                for g in range(group)
            ]
            for j in range(words):
                word = T.min(tid + j * THREADS, layout.words - 1)
                values = [
                    [k.let(value, "value") for value in kv.value_word(page, head, slot, word)]
                    for slot in range(PAGE_SIZE)
                ]
                for g in range(group):
                    for slot, elements in enumerate(values):
                        weight = lane(weights[g][slot // 4], slot % 4)
                        for e, value in enumerate(elements):
                            at = (g * words + j) * layout.word + e
                            k.store(sums, at, sums[at] + weight * value)
            for g in range(group):
                ones = splat(f32(1.0))
                k.store(total, g, total[g] + call("float32", "dot", sum(weights[g][1:], weights[g][0]), ones))
        k.barrier()

    for g in range(group):
        row = head * group + g
        for j in range(words):
            word = tid + j * THREADS
            with k.when(word < layout.words):
                for e in range(layout.word):
                    at = (g * words + j) * layout.word + e
                    k.store(partial, [row, split, word * layout.word + e], sums[at])
        with k.when(tid == 0):
            k.store(partial, [row, split, d], maximum[g])
            k.store(partial, [row, split, d + 1], total[g])
    return k.finish()


def _rotate_queries(
    k: KernelBuilder,
    layout: HeadLayout,
    scale: float,
    qkv: Any,
    coarse: Any,
    fine: Any,
    position: Any,
    head: Any,
    tid: Any,
    queries: Any,
) -> None:
    """RoPE on the group's queries, scaled, into workgroup memory."""
    d, half = layout.head_dim, layout.head_dim // 2
    factor = splat(f32(scale))
    work = layout.group * half // 4
    with k.loop(T.ceildiv(work - tid, THREADS)) as i:
        item = k.let(i * THREADS + tid, "item")
        g, pair = k.let(item // (half // 4), "g"), k.let((item % (half // 4)) * 4, "pair")
        base = k.let((head * layout.group + g) * d + pair, "base")
        low, high = k.let(load4(qkv, 0, base), "low"), k.let(load4(qkv, 0, base + half), "high")
        first, second = rotate4(k, low, high, coarse, fine, position, pair, d)
        k.store(queries, ramp4(g * d + pair), first * factor)
        k.store(queries, ramp4(g * d + pair + half), second * factor)


def _append(
    k: KernelBuilder,
    layout: HeadLayout,
    qkv: Any,
    coarse: Any,
    fine: Any,
    position: Any,
    head: Any,
    tid: Any,
    mine: Any,
    table: Any,
    kv: KVCache,
) -> None:
    """The owning split writes the new token's rotated key and its value to the cache."""
    d, half = layout.head_dim, layout.head_dim // 2
    key_base, value_base = layout.heads * d, (layout.heads + layout.kv_heads) * d
    with k.when(mine):
        page, slot = k.let(page_of(table, position), "page"), k.let(slot_of(position), "slot")
        with k.loop(T.ceildiv(half // 4 - tid, THREADS)) as i:
            pair = k.let((i * THREADS + tid) * 4, "pair")
            base = k.let(key_base + head * d + pair, "base")
            low, high = k.let(load4(qkv, 0, base), "low"), k.let(load4(qkv, 0, base + half), "high")
            first, second = rotate4(k, low, high, coarse, fine, position, pair, d)
            kv.store_key4(page, head, slot, pair // 4, first)
            kv.store_key4(page, head, slot, (pair + half) // 4, second)
        with k.loop(T.ceildiv(d // 4 - tid, THREADS)) as i:
            quad = k.let(i * THREADS + tid, "quad")
            value = k.let(load4(qkv, 0, value_base + head * d + quad * 4), "value")
            kv.store_value4(page, head, slot, quad, value)


def _block_tops(k: KernelBuilder, group: int, tid: Any, scores: Any, tops: Any) -> None:
    """``tops[g, i]``: the largest of every sixteenth of head g's scores."""
    for first in range(0, group * _LANES, THREADS):
        item = k.let(tid + first, "item")
        with k.when(item < group * _LANES):
            g, i = item // _LANES, item % _LANES
            top = scores[g * THREADS + i]
            for j in range(1, THREADS // _LANES):
                top = T.max(top, scores[g * THREADS + i + j * _LANES])
            k.store(tops, item, top)


@kernel
def merge(layout: HeadLayout) -> tirx.PrimFunc:
    """Kernel ``attention[1, H * D]``, in block order, from the splits' partial results ``[H, SPLITS, D + 2]``."""
    d = layout.head_dim
    k = KernelBuilder("merge")
    partial = k.buffer("partial", (layout.heads, SPLITS, d + 2), "float32")
    out = k.buffer("attention", (1, layout.heads * d), "float32")
    (head,), tid = k.launch([layout.heads], THREADS)
    top = partial[head, 0, d]
    for s in range(1, SPLITS):
        top = T.max(top, partial[head, s, d])
    maximum, weights = k.local(1, name="maximum"), k.local(SPLITS, name="weights")
    k.store(maximum, 0, top)
    total = k.local(1, name="total")
    k.store(total, 0, f32(0.0))
    for s in range(SPLITS):
        k.store(weights, s, T.exp(partial[head, s, d] - maximum[0]))
        k.store(total, 0, total[0] + weights[s] * partial[head, s, d + 1])
    with k.loop(T.ceildiv(d - tid, THREADS)) as i:
        dim = k.let(i * THREADS + tid, "dim")
        value: Any = None
        for s in range(SPLITS):
            part = weights[s] * partial[head, s, dim]
            value = part if value is None else value + part
        k.store(out, [0, offset(head * d + dim, layout.heads * d)], value / total[0])
    return k.finish()
