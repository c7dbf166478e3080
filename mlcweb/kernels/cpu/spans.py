"""Normalizes spans of a row, which share a weight, and adds what each token scales."""

from __future__ import annotations

from tvm import tirx

from mlcweb.kernels.cpu.builder import CpuKernel, repeat
from mlcweb.kernels.cpu.norm import inverse_root, mean_of
from mlcweb.kernels.experts.shared import GATES
from mlcweb.kernels.language.builder import dynamic, f32, kernel, load4, ramp4
from mlcweb.kernels.language.expr import Buffer, Expr, Index
from mlcweb.kernels.layouts.storage import Values


@kernel
def norm_spans(weight: Values, spans: int, epsilon: float, *, decode: bool = False) -> tirx.PrimFunc:
    """Kernel ``y[n, spans * W]``: RMSNorm of each span of W, float32. Arguments: x, weight ``[1, W]``, y.

    ``decode``: n is 1.
    """
    k, n, width = CpuKernel("norm_spans"), 1 if decode else dynamic("n"), weight.columns
    x = k.buffer("x", (n, spans * width), "float32")
    w = weight.bind(k, "weight")
    y = k.output("y", (n, spans * width), "float32")
    row = k.parallel(n)
    with k.loop(spans) as span:
        first = k.let(span * width, "first")
        factor = k.let(repeat(_factor(k, x, row, first, width, epsilon)), "factor")
        with k.loop(width // 4) as quad:
            at = first + quad * 4
            k.store(y, [row, ramp4(at)], load4(x, row, at) * factor * w.four(k, 0, quad * 4))
    return k.finish()


@kernel
def add_norm_of_span(
    weight: Values, spans: int, epsilon: float, factor: float, *, decode: bool = False
) -> tirx.PrimFunc:
    """Kernel ``y[n, W] = other[:, span] + factor * norm(x[:, span])``: RMSNorm of one span of W of each row, float32.

    Arguments: x ``[n, spans * W]``, weight ``[1, W]``, other as x, the number ``span``, y. ``decode``: n is 1.
    """
    k, n, width = CpuKernel("add_norm_of_span"), 1 if decode else dynamic("n"), weight.columns
    x = k.buffer("x", (n, spans * width), "float32")
    w = weight.bind(k, "weight")
    other = k.buffer("other", (n, spans * width), "float32")
    span = k.scalar("span")
    y = k.output("y", (n, width), "float32")
    row = k.parallel(n)
    first = k.let(span * width, "first")
    scale = k.let(repeat(f32(factor) * _factor(k, x, row, first, width, epsilon)), "scale")
    with k.loop(width // 4) as quad:
        normed = load4(x, row, first + quad * 4) * scale * w.four(k, 0, quad * 4)
        k.store(y, [row, ramp4(quad * 4)], load4(other, row, first + quad * 4) + normed)
    return k.finish()


@kernel
def add_scaled(width: int, *, decode: bool = False) -> tirx.PrimFunc:
    """Kernel ``y[n, D] = residual + scales[:, 0] * x``, float32. Arguments: x, scales ``[n, 4]``, residual, y.

    ``decode``: n is 1.
    """
    k, n = CpuKernel("add_scaled"), 1 if decode else dynamic("n")
    x = k.buffer("x", (n, width), "float32")
    scales = k.buffer("scales", (n, GATES), "float32")
    residual = k.buffer("residual", (n, width), "float32")
    y = k.output("y", (n, width), "float32")
    row = k.parallel(n)
    scale = k.let(repeat(scales[row, 0]), "scale")
    with k.loop(width // 4) as quad:
        k.store(y, [row, ramp4(quad * 4)], load4(residual, row, quad * 4) + scale * load4(x, row, quad * 4))
    return k.finish()


def _factor(k: CpuKernel, x: Buffer, row: Index, first: Expr, width: int, epsilon: float) -> Expr:
    """float32: what RMSNorm multiplies ``width`` values of a row by, from column ``first`` on."""

    def square(quad: Expr) -> Expr:
        value = k.let(load4(x, row, first + quad * 4), "value")
        return value * value

    return inverse_root(k, mean_of(k, width, square), epsilon)
