"""Normalizes queries and keys between the QKV product and attention, for decode and prefill alike."""

from dataclasses import dataclass
from typing import Literal

from tvm import tirx

from mlcweb.kernels.language.builder import KernelBuilder, call, dynamic, f32, kernel, load4, ramp4, splat
from mlcweb.kernels.language.expr import Expr, T
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.layouts.storage import Values

THREADS = 64


@dataclass(frozen=True)
class HeadNorm:
    """How queries and keys are normalized: ``rms`` and ``layer`` (LayerNorm without bias) each head by itself,
    ``full_rms`` all heads' queries as one vector, and all keys as another.

    Weights are in natural order: ``[1, P]`` where heads share them, else ``[1, H * P]`` and ``[1, J * P]``. A layer
    that has queries alone has no ``k_weight``. ``values``: they are normalized too, each head by itself, and have no
    weight.
    """

    q_weight: Values
    k_weight: Values | None
    epsilon: float
    kind: Literal["rms", "layer", "full_rms"]
    values: bool = False

    def check(self, layout: HeadLayout) -> None:
        """Raise ValueError where it is not for heads of this layout."""
        head_dim, full = layout.head_dim, self.kind == "full_rms"
        if layout.appends != (self.k_weight is not None):
            raise ValueError("keys have a norm where the layer has keys, and only there")
        if self.values and self.kind != "rms":
            raise ValueError(f"values are normalized with {self.kind}, and only rms does that")
        weights = ((self.q_weight, layout.heads), (self.k_weight, layout.kv_heads))
        for weight, count in ((weight, count) for weight, count in weights if weight is not None):
            if weight.columns != count * head_dim and (full or weight.columns != head_dim):
                raise ValueError(
                    f"{self.kind} of {count} heads of {head_dim}: a weight of {weight.columns} values"
                )


@kernel
def norm_heads(layout: HeadLayout, norm: HeadNorm, *, decode: bool = False) -> tirx.PrimFunc:
    """Kernel ``y[n, (H + 2 J) * P]``: qkv with queries and keys normalized, and values as ``norm`` says, in float32;
    ``y[n, H * P]`` where the layer has queries alone.

    Arguments: qkv, q_weight, [k_weight], y; n is 1 in ``decode``. Raises ValueError for weights of other sizes.
    """
    head_dim, heads, kv_heads = layout.head_dim, layout.heads, layout.kv_heads if layout.appends else 0
    full = norm.kind == "full_rms"
    norm.check(layout)
    k, rows = KernelBuilder("norm_heads"), 1 if decode else dynamic("n")
    qkv = k.buffer("qkv", (rows, layout.qkv_width), "float32")
    q_weight = norm.q_weight.bind(k, "q_weight")
    k_weight = norm.k_weight.bind(k, "k_weight") if norm.k_weight else None
    y = k.output("y", (rows, layout.qkv_width), "float32")

    # a span is what has a norm of its own, or is copied; neighbouring threads take it together
    queries, spans = (1, 3 if kv_heads else 1) if full else (heads, heads + 2 * kv_heads)
    keys = (spans - queries) // 2
    lanes = THREADS if full else min(head_dim // 4, THREADS)
    together = THREADS // lanes
    (wg, row), tid = k.launch([T.ceildiv(spans, together), rows], THREADS)
    mine = k.let(T.min(tid // lanes, together - 1), "mine")
    span = k.let(wg * together + mine, "span")
    thread = k.let(tid - mine * lanes, "thread")
    first, size = (
        (span * head_dim, head_dim) if not full else _thirds(k, span, heads * head_dim, kv_heads * head_dim)
    )
    # none for threads that are left over
    present = T.And(thread < lanes, span < spans)
    steps = k.let(T.Select(present, T.ceildiv(size // 4 - thread, lanes), 0), "steps")

    partial = k.shared(THREADS, name="partial")
    mean, factor = k.local(1, name="mean"), k.local(1, name="factor")
    k.store(mean, 0, f32(0.0))
    for spread in (False, True) if norm.kind == "layer" else (True,):
        cell = factor if spread else mean
        k.store(factor, 0, f32(0.0))
        with k.loop(steps) as i:
            x = k.let(load4(qkv, row, first + (thread + i * lanes) * 4) - splat(mean[0]), "x")
            k.store(factor, 0, factor[0] + call("float32", "dot", x, x if spread else splat(f32(1.0))))
        k.store(partial, tid, factor[0])
        k.barrier()
        k.store(factor, 0, f32(0.0))
        with k.loop(lanes) as i:
            k.store(factor, 0, factor[0] + partial[mine * lanes + i])
        k.store(cell, 0, factor[0] / f32(size))
        k.barrier()
    k.store(factor, 0, T.rsqrt(factor[0] + f32(norm.epsilon)))

    with k.loop(steps) as i:
        inside = k.let((thread + i * lanes) * 4, "inside")
        column = k.let(first + inside, "column")
        x = k.let(load4(qkv, row, column), "x")
        scaled = k.let((x - splat(mean[0])) * splat(factor[0]), "scaled")
        with k.when(span < queries):
            at = inside if norm.q_weight.columns == head_dim else column
            k.store(y, [row, ramp4(column)], scaled * q_weight.four(k, 0, at))
        if norm.k_weight is not None and k_weight is not None:
            with k.when(T.And(span >= queries, span < queries + keys)):
                at = inside if norm.k_weight.columns == head_dim else column - heads * head_dim
                k.store(y, [row, ramp4(column)], scaled * k_weight.four(k, 0, at))
            with k.when(span >= queries + keys):
                k.store(y, [row, ramp4(column)], scaled if norm.values else x)
    return k.finish()


def _thirds(k: KernelBuilder, span: Expr, q: int, kv: int) -> tuple[Expr, Expr]:
    """First column and size of queries, keys and values, spans 0, 1 and 2."""
    first = k.let(T.Select(span == 0, 0, q + (span - 1) * kv), "first")
    return first, k.let(T.Select(span == 0, q, kv), "size")
