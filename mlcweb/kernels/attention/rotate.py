"""Rotates queries and keys by RoPE in a launch of its own, for architectures that do something to them afterwards."""

from tvm import tirx

from mlcweb.contract.constants import State
from mlcweb.kernels.language.builder import KernelBuilder, dynamic, kernel, load4, ramp4
from mlcweb.kernels.language.expr import T
from mlcweb.kernels.layouts.kv_cache import HeadLayout, rope_shapes, rotate4
from mlcweb.kernels.texts.place import Places

THREADS = 64


@kernel
def rotate_heads(
    layout: HeadLayout, context: int, *, decode: bool = False, texts: bool = False
) -> tirx.PrimFunc:
    """Kernel ``y[n, (H + 2 J) * P]``: qkv with queries and keys rotated and values as they are, float32.

    Arguments: qkv, RoPE tables, state, y; n is 1 in ``decode``. ``texts``: the position is each token's in its text,
    by ``places``, which is there in place of state.
    """
    head_dim, half = layout.head_dim, layout.head_dim // 2
    heads, kv_heads = layout.heads, layout.kv_heads
    k, n = KernelBuilder("rotate_heads"), 1 if decode else dynamic("n")
    width, (coarse_shape, fine_shape) = (heads + 2 * kv_heads) * head_dim, rope_shapes(head_dim, context)
    qkv = k.buffer("qkv", (n, width), "float32")
    coarse = k.buffer("rope_coarse", coarse_shape, "float32")
    fine = k.buffer("rope_fine", fine_shape, "float32")
    places = Places.bind(k, n) if texts else None
    state = qkv if texts else k.buffer("state", (State.WORDS,), "int32")
    y = k.output("y", (n, width), "float32")

    items = (heads + 2 * kv_heads) * half // 4  # a thread rotates four pairs, or copies eight values
    (wg, row), tid = k.launch([T.ceildiv(items, THREADS), n], THREADS)
    item = k.let(wg * THREADS + tid, "item")
    with k.when(item < items):
        head, pair = k.let(item // (half // 4), "head"), k.let((item % (half // 4)) * 4, "pair")
        at = k.let(head * head_dim + pair, "at")
        low, high = k.let(load4(qkv, row, at), "low"), k.let(load4(qkv, row, at + half), "high")
        with k.when(head < heads + kv_heads):
            position = k.let(places.position(row) if places else state[State.POSITION] + row, "position")
            first, second = rotate4(k, low, high, coarse, fine, position, pair, head_dim)
            k.store(y, [row, ramp4(at)], first)
            k.store(y, [row, ramp4(at + half)], second)
        with k.when(head >= heads + kv_heads):
            k.store(y, [row, ramp4(at)], low)
            k.store(y, [row, ramp4(at + half)], high)
    return k.finish()
