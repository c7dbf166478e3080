"""Multiplies weights of any storage by float32 rows: floats as they are, and formats whose codes end with no byte."""

from __future__ import annotations

from tvm import tirx

from mlcweb.kernels.cpu.builder import CpuKernel, sums_of_lanes
from mlcweb.kernels.cpu.outputs import Multiply, Outputs
from mlcweb.kernels.cpu.readers import four_of
from mlcweb.kernels.language.builder import dynamic, kernel, load4
from mlcweb.kernels.language.expr import Expr, Index
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
    bound = FloatProduct(k, weight, n)
    outputs = Outputs.bind(k, n, weight.rows, folded, piece)
    first = outputs.first(k.parallel(outputs.grid))
    outputs.multiply_all(bound.begin(), n, first, 1 if decode else _TOKENS)
    return k.finish()


class FloatProduct:
    """x and a weight, as a kernel's next arguments."""

    def __init__(self, k: CpuKernel, weight: WholeMatrix, n: Index) -> None:
        self.k, self.columns = k, weight.columns
        self.x = k.buffer("x", (n, weight.columns), "float32")
        self.w = weight.bind(k, "w")

    def begin(self) -> Multiply:
        """What multiplies rows of the weight by tokens. To be called after ``parallel``."""
        k, four = self.k, four_of(self.k, self.w)

        def multiply(rows: list[Expr], tokens: list[Expr]) -> list[Expr]:
            totals = [[k.vector("total") for _ in tokens] for _ in rows]
            with k.loop(self.columns // 4) as quad:
                column = k.let(quad * 4, "column")
                x4 = [k.let(load4(self.x, token, column), "x4") for token in tokens]
                for row, total in zip(rows, totals, strict=True):
                    w4 = k.let(four(row, column), "w4")
                    for value, of_token in zip(x4, total, strict=True):
                        of_token.add(w4 * value)
            return [sums_of_lanes(k, [total[t].value for total in totals]) for t in range(len(tokens))]

        return multiply
