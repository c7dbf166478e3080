"""Turns queries and keys of texts side by side by each token's position in its own text."""

from __future__ import annotations

from tvm import tirx

from mlcweb.kernels.language.builder import KernelBuilder, dynamic, kernel, load4, ramp4
from mlcweb.kernels.language.expr import T
from mlcweb.kernels.layouts.kv_cache import HeadLayout, rope_shapes, rotate4
from mlcweb.kernels.texts.place import Places

THREADS = 64


@kernel
def rotate(layout: HeadLayout, context: int) -> tirx.PrimFunc:
    """Kernel ``turned[n, (H + 2 J) * P]``: queries and keys turned by RoPE, values as they are.

    Arguments: qkv ``[n, (H + 2 J) * P]``, RoPE's tables, places, turned.
    """
    head_dim, half = layout.head_dim, layout.head_dim // 2
    width = (layout.heads + 2 * layout.kv_heads) * head_dim
    k, n = KernelBuilder("rotate"), dynamic("n")
    qkv = k.buffer("qkv", (n, width), "float32")
    coarse, fine = (
        k.buffer(name, shape, "float32")
        for name, shape in zip(("rope_coarse", "rope_fine"), rope_shapes(head_dim, context), strict=True)
    )
    places = Places.bind(k, n)
    turned = k.output("turned", (n, width), "float32")
    items = width // 8  # a thread turns four pairs, or copies eight values
    (wg, row), tid = k.launch([T.ceildiv(items, THREADS), n], THREADS)
    item = k.let(wg * THREADS + tid, "item")
    with k.when(item < items):
        head, pair = k.let(item // (half // 4), "head"), k.let((item % (half // 4)) * 4, "pair")
        column = k.let(head * head_dim + pair, "column")
        low, high = k.let(load4(qkv, row, column), "low"), k.let(load4(qkv, row, column + half), "high")
        position = k.let(places.position(row), "position")
        with k.when(head < layout.heads + layout.kv_heads):
            first, second = rotate4(k, low, high, coarse, fine, position, pair, head_dim)
            k.store(turned, [row, ramp4(column)], first)
            k.store(turned, [row, ramp4(column + half)], second)
        with k.when(head >= layout.heads + layout.kv_heads):
            k.store(turned, [row, ramp4(column)], low)
            k.store(turned, [row, ramp4(column + half)], high)
    return k.finish()
