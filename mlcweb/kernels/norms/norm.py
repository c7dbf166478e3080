"""Normalizes rows (RMSNorm, LayerNorm), alone or added to a residual; decode folds RMSNorm into the next product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tvm import tirx

from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.language.builder import KernelBuilder, call, dynamic, f32, kernel, load4, ramp4, splat
from mlcweb.kernels.language.expr import Buffer, Expr, Index, T
from mlcweb.kernels.language.reduce import reduce_rows
from mlcweb.kernels.layouts.block_order import offset4
from mlcweb.kernels.layouts.storage import Values, VectorReader
from mlcweb.kernels.products.matvec import Norm

THREADS = 64


@dataclass(frozen=True)
class NormRows:
    """What a norm of rows is given, a row a workgroup: ``row`` of x is read, and ``to`` of y and residual written.

    ``scale`` multiplies the sum, where there is one.
    """

    x: Buffer
    weight: VectorReader
    bias: VectorReader | None
    residual: Buffer | None
    scale: Expr | None
    y: Buffer
    row: Index
    to: Expr
    tid: Expr

    @classmethod
    def bind(
        cls,
        k: KernelBuilder,
        norm: Norm,
        threads: int,
        *,
        decode: bool,
        residual: bool,
        last_row: bool,
        scale: Values | None,
    ) -> NormRows:
        """Declare the kernel's arguments, and launch ``threads`` for each row of y."""
        n, width = 1 if decode else dynamic("n"), norm.weight.columns
        rows = 1 if last_row else n
        x = k.buffer("x", (n, width), "float32")
        weight = norm.weight.bind(k, "norm")
        bias = norm.bias.bind(k, "bias") if norm.bias else None
        r = k.buffer("residual", (rows, width), "float32") if residual else None
        factor = scale.bind(k, "scale") if scale else None
        y = k.output("y", (rows, width), "float32")
        (to,), tid = k.launch([rows], threads)
        times = k.let(factor.one(k, 0, 0), "times") if factor else None
        return cls(x, weight, bias, r, times, y, n - 1 if last_row else to, to, tid)


@kernel
def normalize(
    norm: Norm,
    tier: Tier,
    *,
    decode: bool = False,
    residual: bool = False,
    block_order: bool = False,
    to_block_order: bool = False,
    last_row: bool = False,
    scale: Values | None = None,
) -> tirx.PrimFunc:
    """Kernel ``y[n, D] = [residual +] norm(x)``, times the one value of ``scale`` if there is one, in float32.
    Arguments: x ``[n, D]``, weight, [bias], [residual], [scale], y.

    ``decode``: n is 1; ``block_order``: all vectors are in block order; ``to_block_order``: y alone is.
    ``last_row``: y ``[1, D]`` is of x's last.
    """
    k = KernelBuilder("norm")
    rows = NormRows.bind(k, norm, THREADS, decode=decode, residual=residual, last_row=last_row, scale=scale)
    width, tid, row, to = norm.weight.columns, rows.tid, rows.row, rows.to
    x, weight, bias, r, y = rows.x, rows.weight, rows.bias, rows.residual, rows.y
    quads = width // 4

    def mean(value: Callable[[Expr], Expr]) -> Expr:
        """The mean over the row of a float32x4's lanes, summed."""
        sums = k.local(1, name="sums")
        k.store(sums, 0, f32(0.0))
        with k.loop(T.ceildiv(quads - tid, THREADS)) as i:
            k.store(sums, 0, sums[0] + value(k.let(load4(x, row, (i * THREADS + tid) * 4), "x4")))
        return reduce_rows(k, tier, tid, sums, 1, THREADS)(0) / float(width)

    middle: Buffer | None = None
    if norm.centered:
        middle = k.local(1, name="middle")
        k.store(middle, 0, mean(lambda x4: call("float32", "dot", x4, splat(f32(1.0)))))
        k.barrier()  # the sums' workgroup memory is used again

    def centred(x4: Expr) -> Expr:
        return x4 if middle is None else k.let(x4 - splat(middle[0]), "centred")

    def square(x4: Expr) -> Expr:
        value = centred(x4)
        return call("float32", "dot", value, value)

    factor = k.let(T.rsqrt(mean(square) + f32(norm.epsilon)), "factor")
    with k.loop(T.ceildiv(quads - tid, THREADS)) as i:
        column = k.let((i * THREADS + tid) * 4, "column")

        def read(vector: VectorReader) -> Expr:
            return vector.four_at(k, column) if block_order else vector.four(k, column)

        value = centred(load4(x, row, column)) * splat(factor) * read(weight)
        if bias is not None:
            value = value + read(bias)
        at = offset4(column, width) if to_block_order else column
        value = value if r is None else load4(r, to, column) + value
        k.store(y, [to, ramp4(at)], value if rows.scale is None else value * splat(rows.scale))
    return k.finish()
