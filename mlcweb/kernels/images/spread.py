"""Spreads a square of learned positions over a picture of any shape."""

from __future__ import annotations

import math

from tvm import tirx

from mlcweb.contract.constants import Spot
from mlcweb.kernels.language.builder import KernelBuilder, dynamic, f32, kernel, ramp4, splat
from mlcweb.kernels.language.expr import Expr, T
from mlcweb.kernels.layouts.storage import WholeMatrix

THREADS = 64


@kernel
def spread(table: WholeMatrix) -> tirx.PrimFunc:
    """Kernel ``x[n, D]``: what is at each patch when ``table`` ``[side * side, D]`` is stretched over its picture,
    corners on corners, with bilinear interpolation.

    Arguments: spots int32 ``[n, 4]``, table's tensors, x.
    """
    side = math.isqrt(table.rows)
    k, n = KernelBuilder("spread"), dynamic("n")
    spots = k.buffer("spots", (n, Spot.WORDS), "int32")
    w = table.bind(k, "w")
    x = k.output("x", (n, table.columns), "float32")
    (wg, row), tid = k.launch([T.ceildiv(table.columns // 4, THREADS), n], THREADS)
    column = k.let((wg * THREADS + tid) * 4, "column")

    def along(at: int, of: int) -> tuple[Expr, Expr, Expr]:
        """The two places of the table beside the patch's, and how far it is from the first."""
        last = f32(T.max(spots[row, of] - 1, 1))
        place = k.let(f32(spots[row, at] * (side - 1)) / last, "place")
        first = k.let(T.min(T.Cast("int32", place), side - 1), "first")
        return first, k.let(T.min(first + 1, side - 1), "second"), k.let(place - f32(first), "part")

    with k.when(column < table.columns):
        above, below, down = along(Spot.LINE, Spot.LINES)
        left, right, across = along(Spot.COLUMN, Spot.COLUMNS)
        total: Expr | None = None
        for line, vertical in ((above, f32(1.0) - down), (below, down)):
            for place, horizontal in ((left, f32(1.0) - across), (right, across)):
                share = k.let(vertical * horizontal, "share")
                value = w.four(k, k.let(line * side + place, "at"), column) * splat(share)
                total = value if total is None else total + value
        assert total is not None
        k.store(x, [row, ramp4(column)], total)
    return k.finish()
