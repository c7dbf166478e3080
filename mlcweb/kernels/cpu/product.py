"""Multiplies weights of any storage by float32 rows: floats as they are, and formats whose codes end with no byte."""

from __future__ import annotations

from tvm import tirx

from mlcweb.kernels.cpu.builder import CpuKernel, sums_of_lanes
from mlcweb.kernels.cpu.outputs import ROWS, Outputs
from mlcweb.kernels.cpu.readers import four_of
from mlcweb.kernels.language.builder import dynamic, kernel, load4
from mlcweb.kernels.language.expr import T
from mlcweb.kernels.layouts.pieces import Piece
from mlcweb.kernels.layouts.storage import WholeMatrix
from mlcweb.kernels.products.outputs import NOTHING, Folded

_TOKENS = 4  # of a prefill, multiplied at a time


@kernel
def product(
    weight: WholeMatrix, *, folded: Folded = NOTHING, decode: bool = False, piece: Piece | None = None
) -> tirx.PrimFunc:
    """Kernel ``y[n, N] = x @ weight.T`` in float32; n is 1 in ``decode``.

    Arguments: x ``[n, K]``, w, what ``folded`` has of bias and residual ``[n, N]``, y. ``piece``: which of y's N
    ``weight`` makes.
    """
    k, n = CpuKernel("product"), 1 if decode else dynamic("n")
    x = k.buffer("x", (n, weight.columns), "float32")
    reader = weight.bind(k, "w")
    outputs = Outputs.bind(k, n, weight.rows, folded, piece)
    first = outputs.first(k.parallel(outputs.grid))
    four = four_of(k, reader)
    rows, count = outputs.rows(first), 1 if decode else _TOKENS
    with k.loop(T.ceildiv(n, count)) as tile:
        # past the last token it is that token again
        tokens = [k.let(T.min(tile * count + t, n - 1), "token") for t in range(count)]
        totals = [[k.vector("total") for _ in tokens] for _ in rows]
        with k.loop(weight.columns // 4) as quad:
            column = k.let(quad * 4, "column")
            x4 = [k.let(load4(x, token, column), "x4") for token in tokens]
            for row, total in zip(rows, totals, strict=True):
                w4 = k.let(four(row, column), "w4")
                for value, of_token in zip(x4, total, strict=True):
                    of_token.add(w4 * value)
        for t, token in enumerate(tokens):
            outputs.store(token, first, sums_of_lanes(k, [totals[r][t].value for r in range(ROWS)]))
    return k.finish()
