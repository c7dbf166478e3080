"""Does something to heads between the QKV product and attention, or after it: norms, RoPE, gates."""

from __future__ import annotations

from tvm import tirx

from mlcweb.contract.constants import State
from mlcweb.kernels.cpu.builder import CpuKernel, repeat
from mlcweb.kernels.cpu.norm import inverse_root, mean_of
from mlcweb.kernels.language.builder import dynamic, kernel, load4, ramp4
from mlcweb.kernels.language.expr import Buffer, Expr, Index
from mlcweb.kernels.layouts.kv_cache import HeadLayout, rope_shapes, rotate4
from mlcweb.kernels.layouts.storage import Values, ValuesReader
from mlcweb.kernels.norms.head_norm import HeadNorm
from mlcweb.kernels.texts.place import Places


@kernel
def norm_heads(layout: HeadLayout, norm: HeadNorm, *, decode: bool = False) -> tirx.PrimFunc:
    """Kernel ``y[n, (H + 2 J) * P]``: qkv with queries and keys normalized, and values as ``norm`` says, in float32;
    ``y[n, H * P]`` where the layer has queries alone.

    Arguments: qkv, q_weight, [k_weight], y; n is 1 in ``decode``. Raises ValueError for weights of other sizes.
    """
    norm.check(layout)
    k, n = CpuKernel("norm_heads"), 1 if decode else dynamic("n")
    width, full = layout.head_dim, norm.kind == "full_rms"
    kv_heads = layout.kv_heads if layout.appends else 0
    qkv = k.buffer("qkv", (n, layout.qkv_width), "float32")
    q_weight = norm.q_weight.bind(k, "q_weight")
    k_weight = norm.k_weight.bind(k, "k_weight") if norm.k_weight else None
    y = k.output("y", (n, layout.qkv_width), "float32")
    row = k.parallel(n)

    def normalized(first: int, heads: int, weight: Values | None, reader: ValuesReader | None) -> None:
        """Heads from column ``first`` on, each by itself or all as one."""
        size, count = (heads * width, 1) if full else (width, heads)
        with k.loop(count) as head:
            begin = k.let(first + head * size, "begin")

            def centred(quad: Index) -> Expr:
                x4 = load4(qkv, row, begin + quad * 4)
                return x4 if middle is None else k.let(x4 - middle, "centred")

            def squared(quad: Index) -> Expr:
                value = k.let(centred(quad), "value")
                return value * value

            middle: Expr | None = None
            if norm.kind == "layer":
                middle = k.let(repeat(mean_of(k, size, centred)), "middle")
            inverse = repeat(inverse_root(k, mean_of(k, size, squared), norm.epsilon))
            with k.loop(size // 4) as quad:
                value = centred(quad) * inverse
                if weight is not None and reader is not None:
                    own = quad * 4 if weight.columns == width else begin - first + quad * 4
                    value = value * reader.four(k, 0, own)
                k.store(y, [row, ramp4(begin + quad * 4)], value)

    normalized(0, layout.heads, norm.q_weight, q_weight)
    if kv_heads:
        normalized(layout.heads * width, kv_heads, norm.k_weight, k_weight)
        values = (layout.heads + kv_heads) * width
        if norm.values:
            normalized(values, kv_heads, None, None)
        else:
            _copy(k, qkv, y, row, values, kv_heads * width)
    return k.finish()


@kernel
def rotate_heads(
    layout: HeadLayout, context: int, *, decode: bool = False, texts: bool = False
) -> tirx.PrimFunc:
    """Kernel ``y[n, (H + 2 J) * P]``: qkv with queries and keys rotated and values as they are, float32.

    Arguments: qkv, RoPE tables, state, y; n is 1 in ``decode``. ``texts``: the position is each token's in its text,
    by ``places``, which is there in place of state.
    """
    k, n = CpuKernel("rotate_heads"), 1 if decode else dynamic("n")
    size, half, turned = layout.head_dim, layout.head_dim // 2, layout.heads + layout.kv_heads
    width, shapes = (turned + layout.kv_heads) * size, rope_shapes(size, context)
    qkv = k.buffer("qkv", (n, width), "float32")
    coarse, fine = (
        k.buffer(f"rope_{name}", shape, "float32")
        for name, shape in zip(("coarse", "fine"), shapes, strict=True)
    )
    places = Places.bind(k, n) if texts else None
    state = qkv if texts else k.buffer("state", (State.WORDS,), "int32")
    y = k.output("y", (n, width), "float32")
    row = k.parallel(n)
    position = k.let(places.position(row) if places else state[State.POSITION] + row, "position")
    with k.loop(turned) as head, k.loop(half // 4) as quad:
        pair, at = k.let(quad * 4, "pair"), k.let(head * size + quad * 4, "at")
        low, high = k.let(load4(qkv, row, at), "low"), k.let(load4(qkv, row, at + half), "high")
        first, second = rotate4(k, low, high, coarse, fine, position, pair, size)
        k.store(y, [row, ramp4(at)], first)
        k.store(y, [row, ramp4(at + half)], second)
    _copy(k, qkv, y, row, turned * size, layout.kv_heads * size)
    return k.finish()


@kernel
def scale_heads(layout: HeadLayout, *, decode: bool = False) -> tirx.PrimFunc:
    """Kernel ``y[n, H * P] = x * scales``, float32. Arguments: x ``[n, H * P]``, scales ``[n, H]``, y.

    n is 1 in ``decode``.
    """
    k, n = CpuKernel("scale_heads"), 1 if decode else dynamic("n")
    width = layout.heads * layout.head_dim
    x = k.buffer("x", (n, width), "float32")
    scales = k.buffer("scales", (n, layout.heads), "float32")
    y = k.output("y", (n, width), "float32")
    row = k.parallel(n)
    with k.loop(layout.heads) as head:
        scale = k.let(repeat(scales[row, head]), "scale")
        with k.loop(layout.head_dim // 4) as quad:
            at = head * layout.head_dim + quad * 4
            k.store(y, [row, ramp4(at)], load4(x, row, at) * scale)
    return k.finish()


def _copy(k: CpuKernel, source: Buffer, y: Buffer, row: Expr, first: int, count: int) -> None:
    with k.loop(count // 4) as quad:
        k.store(y, [row, ramp4(first + quad * 4)], load4(source, row, first + quad * 4))
