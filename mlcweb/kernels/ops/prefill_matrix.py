"""Launches the operations on a chunk, with products on subgroup matrices."""

from tvm.relax.frontend.nn import Tensor

from mlcweb.kernels.layouts.pieces import Matrix, pieces
from mlcweb.kernels.layouts.quantized import GroupQuantized
from mlcweb.kernels.ops.prefill import Prefill
from mlcweb.kernels.ops.shared import group_quantized
from mlcweb.kernels.products.matmul_matrix import matmul_matrix
from mlcweb.kernels.products.matvec import Norm
from mlcweb.kernels.products.outputs import Folded
from mlcweb.kernels.products.rows import float16_rows


class PrefillMatrix(Prefill):
    """As ``Prefill``, with products on subgroup matrices, whose factors are float16; experts' products are not."""

    def _product(
        self,
        name: str,
        x: Tensor,
        weight: Matrix,
        norm: Norm | None,
        folded: Folded,
        other: Tensor | None,
        *,
        rows: bool = False,
    ) -> Tensor:
        if norm is not None and norm.centered:
            x, norm = self.norm(x, norm), None
        if not all(isinstance(w, GroupQuantized) for w, _ in pieces(weight)):
            return super()._product(name, x, weight, norm, folded, other, rows=rows)
        kernel = self.kernel(float16_rows, int(x.shape[1]), self.tier, norm)
        label = "norm" if norm else f"halve_{name}"
        x_float16 = self.launch(label, kernel, way="matrix", x=x, norm=norm and norm.weight)["halves"]
        y: Tensor | None = None
        for w, piece in pieces(weight):
            kernel = self.kernel(matmul_matrix, group_quantized(w), folded=folded, piece=piece)
            y = self.launch(
                name, kernel, way="matrix", halves=x_float16, w=w, bias=folded.bias, residual=other, y=y
            )["y"]
        return y
