"""Kernels over whole texts side by side: attention within each, pooling, lengths of 1, scores."""

from __future__ import annotations

from tvm import tirx

from mlcweb.contract.constants import Pooling
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.cpu.attention import Softmax
from mlcweb.kernels.cpu.builder import CpuKernel, llvm, repeat, sum_of_lanes
from mlcweb.kernels.cpu.readers import four_of
from mlcweb.kernels.language.builder import dynamic, f32, kernel, load4, ramp4
from mlcweb.kernels.language.expr import Expr, Index, T
from mlcweb.kernels.layouts.kv_cache import PAGE_SIZE, HeadLayout
from mlcweb.kernels.layouts.storage import Values, WholeMatrix
from mlcweb.kernels.texts.place import Places
from mlcweb.kernels.texts.pool import SHORTEST
from mlcweb.kernels.texts.rows import Rows


@kernel
def attend_texts(layout: HeadLayout, scoring: Scoring) -> tirx.PrimFunc:
    """Kernel ``attention[n, H * P]``: softmax(scale q kᵀ) v, each token within its text and what scoring lets it see.

    Arguments: qkv ``[n, (H + 2 J) * P]``, places, attention.
    """
    k, n = CpuKernel("attend_texts"), dynamic("n")
    width, heads = layout.head_dim, layout.heads
    qkv = k.buffer("qkv", (n, (heads + 2 * layout.kv_heads) * width), "float32")
    places = Places.bind(k, n)
    out = k.output("attention", (n, heads * width), "float32")
    item = k.parallel(n * heads)
    token, head = k.let(item // heads, "token"), k.let(item % heads, "head")
    first, end = (k.let(bound, "bound") for bound in places.seen(token, scoring))
    rows = Rows(qkv, layout, n)
    softmax = Softmax(k, rows, head // layout.group, out, token, head * width, width // 4)
    softmax.begin(None)
    with k.loop((end - first + (PAGE_SIZE - 1)) // PAGE_SIZE) as i:
        page = k.let(first + i * PAGE_SIZE, "page")
        softmax.add(page, softmax.scores(qkv, page, page, (first, end), scoring.cap, scoring.scale))
    softmax.store()
    return k.finish()


@kernel
def pool(width: int, pooling: Pooling) -> tirx.PrimFunc:
    """Kernel ``y[b, D]``: of each text the mean of its rows of x, or its first row (``cls``) or its last.

    Arguments: x ``[n, D]``, places, texts int32 ``[b]``, y.
    """
    k, n, b = CpuKernel("pool"), dynamic("n"), dynamic("b")
    x = k.buffer("x", (n, width), "float32")
    places = Places.bind(k, n)
    texts = k.buffer("texts", (b,), "int32")
    y = k.output("y", (b, width), "float32")
    text = k.parallel(b)
    first = k.let(texts[text], "first")
    end = k.let(places.end(first), "end")
    row = k.let(first if pooling == "cls" else end - 1, "row")
    share = k.let(repeat(f32(1.0) / T.Cast("float32", end - first)), "share")
    with k.loop(width // 4) as quad:
        if pooling == "mean":
            sums = k.vector("sums")
            with k.loop(end - first) as i:
                sums.add(load4(x, first + i, quad * 4))
            k.store(y, [text, ramp4(quad * 4)], sums.value * share)
        else:
            k.store(y, [text, ramp4(quad * 4)], load4(x, row, quad * 4))
    return k.finish()


@kernel
def unit(width: int) -> tirx.PrimFunc:
    """Kernel ``y[b, D]``: x's rows divided by their lengths. Arguments: x ``[b, D]``, y."""
    k, b = CpuKernel("unit"), dynamic("b")
    x = k.buffer("x", (b, width), "float32")
    y = k.output("y", (b, width), "float32")
    row = k.parallel(b)

    def four(quad: Index) -> Expr:
        return load4(x, row, quad * 4)

    sums = k.vector("sums")
    with k.loop(width // 4) as quad:
        value = k.let(four(quad), "value")
        sums.add(value * value)
    square = k.let(sum_of_lanes(k, sums.value), "square")
    length = llvm("float32", "sqrt", T.max(square, f32(SHORTEST**2)))
    inverse = k.let(repeat(f32(1.0) / length), "inverse")
    with k.loop(width // 4) as quad:
        k.store(y, [row, ramp4(quad * 4)], four(quad) * inverse)
    return k.finish()


@kernel
def score(weight: WholeMatrix, bias: Values | None) -> tirx.PrimFunc:
    """Kernel ``y[b, 1]``: x times the last row of ``weight``, minus x times its first if it has two, plus a bias.

    Arguments: x ``[b, D]``, weight's tensors, [bias], y.
    """
    width = weight.columns
    k, b = CpuKernel("score"), dynamic("b")
    x = k.buffer("x", (b, width), "float32")
    w = weight.bind(k, "w")
    own = bias.bind(k, "bias") if bias else None
    y = k.output("y", (b, 1), "float32")
    row = k.parallel(b)
    four, sums = four_of(k, w), k.vector("sums")
    with k.loop(width // 4) as quad:
        column = k.let(quad * 4, "column")
        w4 = k.let(four(weight.rows - 1, column), "w4")
        if weight.rows == 2:
            w4 = k.let(w4 - four(0, column), "difference")
        sums.add(load4(x, row, column) * w4)
    total = sum_of_lanes(k, sums.value)
    k.store(y, [row, 0], total if own is None else total + own.one(k, 0, 0))
    return k.finish()
