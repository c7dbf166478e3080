"""Rotates queries and keys by RoPE, and appends keys and values to the KV cache."""

from __future__ import annotations

from tvm import tirx

from mlcweb.contract.constants import State
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.cpu.builder import CpuKernel, repeat
from mlcweb.kernels.language.builder import dynamic, kernel, load4, ramp4
from mlcweb.kernels.language.expr import Expr, Index
from mlcweb.kernels.layouts.kv_cache import HeadLayout, NewTokens, page_of, rope_shapes, rotate4, slot_of


@kernel
def rope_append(
    layout: HeadLayout,
    context: int,
    scoring: Scoring,
    *,
    decode: bool = False,
    angles: bool = False,
    shifted: bool = False,
) -> tirx.PrimFunc:
    """Kernel: queries ``[n, H * P]``, rotated and scaled; rotated keys, and values, to the KV cache, if the layer has
    its own.

    Arguments: qkv ``[n, (H + 2 J) * P]``, RoPE tables, or ``angles`` in their place, state, [page_table, kv
    (written)], queries; n is 1 in ``decode``. ``shifted``: RoPE's position has a shift.
    """
    k, n = CpuKernel("rope_append"), 1 if decode else dynamic("n")
    width, heads, kv_heads = layout.head_dim, layout.heads, layout.kv_heads
    new = None
    if layout.appends:
        new = NewTokens.bind(k, layout, context, n, fours=True, angles=angles)
        qkv, state = new.qkv, new.state
    else:
        shapes = rope_shapes(width, context)
        qkv = k.buffer("qkv", (n, layout.qkv_width), "float32")
        coarse, fine = (
            k.buffer(f"rope_{name}", shape, "float32")
            for name, shape in zip(("coarse", "fine"), shapes, strict=True)
        )
        state = k.buffer("state", (State.WORDS,), "int32")
    queries = k.output("queries", (n, heads * width), "float32")
    row = k.parallel(n)
    position = k.let(state[State.POSITION] + row, "position")
    turned = k.let(position + state[State.SHIFT], "turned") if shifted else position
    factor = k.let(repeat(scoring.scale_at(position)), "factor")

    def rotated(head: Index, pair: Expr) -> tuple[Expr, Expr]:
        low, high = (k.let(load4(qkv, row, head * width + pair + at), "half") for at in (0, width // 2))
        if new is not None:
            return new.turn4(k, low, high, row, turned, pair, width)
        return rotate4(k, low, high, coarse, fine, turned, pair, width)

    with k.loop(heads) as head, k.loop(width // 8) as quad:
        pair = k.let(quad * 4, "pair")
        for at, value in zip((0, width // 2), rotated(head, pair), strict=True):
            k.store(queries, [row, ramp4(head * width + pair + at)], value * factor)
    if new is not None:
        page, slot = k.let(page_of(new.table, position), "page"), k.let(slot_of(position), "slot")
        with k.loop(kv_heads) as head:
            with k.loop(width // 8) as quad:
                for at, value in zip((0, width // 8), rotated(head + heads, k.let(quad * 4)), strict=True):
                    new.kv.store_key4(page, head, slot, quad + at, value)
            with k.loop(width // 4) as quad:
                four = load4(qkv, row, (head + (heads + kv_heads)) * width + quad * 4)
                new.kv.store_value4(page, head, slot, quad, k.let(four, "value"))
    return k.finish()
