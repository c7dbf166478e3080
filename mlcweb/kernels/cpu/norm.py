"""Normalizes rows (RMSNorm, LayerNorm), alone or added to a residual."""

from __future__ import annotations

from collections.abc import Callable

from tvm import tirx

from mlcweb.kernels.cpu.builder import CpuKernel, llvm, repeat, sum_of_lanes
from mlcweb.kernels.language.builder import dynamic, f32, kernel, load4, ramp4
from mlcweb.kernels.language.expr import Buffer, Expr, Index
from mlcweb.kernels.layouts.storage import Values
from mlcweb.kernels.products.matvec import Norm


@kernel
def normalize(
    norm: Norm,
    *,
    decode: bool = False,
    residual: bool = False,
    last_row: bool = False,
    scale: Values | None = None,
) -> tirx.PrimFunc:
    """Kernel ``y[n, D] = [residual +] norm(x)``, times the one value of ``scale`` if there is one, in float32.

    Arguments: x ``[n, D]``, weight, [bias], [residual], [scale], y. ``decode``: n is 1. ``last_row``: y ``[1, D]`` is
    of x's last.
    """
    k, n, width = CpuKernel("norm"), 1 if decode else dynamic("n"), norm.weight.columns
    rows = 1 if last_row else n
    x = k.buffer("x", (n, width), "float32")
    weight = norm.weight.bind(k, "norm")
    bias = norm.bias.bind(k, "bias") if norm.bias else None
    other = k.buffer("residual", (rows, width), "float32") if residual else None
    factor = scale.bind(k, "scale") if scale else None
    y = k.output("y", (rows, width), "float32")
    to = k.parallel(rows)
    row = n - 1 if last_row else to
    times = k.let(repeat(factor.one(k, 0, 0)), "times") if factor else None
    middle = k.let(repeat(mean(k, x, row, width, lambda x4: x4)), "middle") if norm.centered else None

    def centred(x4: Expr) -> Expr:
        return x4 if middle is None else k.let(x4 - middle, "centred")

    square = mean(k, x, row, width, lambda x4: centred(x4) * centred(x4))
    inverse = repeat(inverse_root(k, square, norm.epsilon))
    with k.loop(width // 4) as quad:
        column = k.let(quad * 4, "column")
        value = centred(load4(x, row, column)) * inverse * weight.four(k, column)
        if bias is not None:
            value = value + bias.four(k, column)
        if other is not None:
            value = load4(other, to, column) + value
        k.store(y, [to, ramp4(column)], value if times is None else value * times)
    return k.finish()


def mean(k: CpuKernel, x: Buffer, row: Index, width: int, of: Callable[[Expr], Expr]) -> Expr:
    """float32: the mean over a row of what is made of its float32x4."""
    return mean_of(k, width, lambda quad: of(k.let(load4(x, row, quad * 4), "x4")))


def mean_of(k: CpuKernel, width: int, quad4: Callable[[Expr], Expr]) -> Expr:
    """float32: the mean of ``width`` values, float32x4 by their index."""
    total = k.vector("total")
    with k.loop(width // 4) as quad:
        total.add(quad4(quad))
    return k.let(sum_of_lanes(k, total.value) / f32(float(width)), "mean")


def inverse_root(k: CpuKernel, square: Expr, epsilon: float) -> Expr:
    """float32: what a row is multiplied by, of the mean of its squares."""
    return k.let(f32(1.0) / llvm("float32", "sqrt", square + f32(epsilon)), "inverse")
