"""Operations on a chunk whose products are on subgroup matrices."""

from tvm.relax.frontend.nn import Tensor, op

from mlcweb.kernels.layouts.pieces import Matrix, pieces
from mlcweb.kernels.layouts.quantized import GroupQuantized
from mlcweb.kernels.layouts.storage import GROUP
from mlcweb.kernels.ops.prefill import Prefill
from mlcweb.kernels.ops.shared import Folded, group_quantized, norm_key
from mlcweb.kernels.products.matmul_matrix import matmul_matrix
from mlcweb.kernels.products.matvec import Norm
from mlcweb.kernels.products.rows import halve_rows


class PrefillMatrix(Prefill):
    """As ``Prefill``, with products on subgroup matrices, whose factors are float16; experts' products are not."""

    def _product(
        self, name: str, x: Tensor, weight: Matrix, norm: Norm | None, folded: Folded, *, rows: bool = False
    ) -> Tensor:
        if norm is not None and norm.centered:
            x, norm = self.norm(x, norm), None
        if not all(isinstance(part, GroupQuantized) for part, _ in pieces(weight)):
            return super()._product(name, x, weight, norm, folded, rows=rows)
        halves = self._halved("norm" if norm else f"halve_{name}", x, norm)
        return self._launch(
            f"prefill_matrix_{name}",
            weight,
            (name, folded.key),
            lambda part, piece: matmul_matrix(
                group_quantized(part),
                **folded.options,
                piece=piece,
            ),
            lambda part: [halves, *part.tensors, *folded.tensors],
            Tensor.placeholder((x.shape[0], folded.outputs(weight)), "float32"),
        )

    def _halved(self, name: str, x: Tensor, norm: Norm | None) -> Tensor:
        n, width = x.shape[0], int(x.shape[1])
        func = self._once(("halves", width, norm_key(norm)), lambda: halve_rows(width, self.tier, norm))
        out = Tensor.placeholder((n, -(-width // GROUP) * GROUP // 2), "uint32")
        args = [x, *(norm.tensors if norm else [])]
        return op.tensor_ir_op(func, f"prefill_matrix_{name}", args, out)
