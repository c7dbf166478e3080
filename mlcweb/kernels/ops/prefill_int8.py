"""Launches the operations on a chunk, with products that take int8 activations."""

from tvm.relax.frontend.nn import Tensor

from mlcweb.kernels.experts.mixture import Mixture
from mlcweb.kernels.layouts.pieces import Matrix, pieces
from mlcweb.kernels.layouts.quantized import GroupQuantized
from mlcweb.kernels.ops.moe import prefill_moe
from mlcweb.kernels.ops.prefill import Prefill
from mlcweb.kernels.ops.shared import group_quantized
from mlcweb.kernels.products.matmul_int8 import in_pairs, matmul_int8
from mlcweb.kernels.products.matvec import Norm
from mlcweb.kernels.products.outputs import Folded
from mlcweb.kernels.products.rows import quantize_rows


class PrefillInt8(Prefill):
    """As ``Prefill``, with activations rounded to int8 before each product, in groups as weights are."""

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
        quantized = [(group_quantized(w), piece) for w, piece in pieces(weight)]
        label = "norm" if norm else f"round_{name}"
        orders = sorted({in_pairs(w) for w, _ in quantized})
        rounded, y = {paired: self._rounded(label, x, norm, paired) for paired in orders}, None
        for w, piece in quantized:
            y = self.launch(
                name,
                self.kernel(matmul_int8, w, folded=folded, piece=piece),
                way="int8",
                w=w,
                bias=folded.bias,
                residual=other,
                y=y,
                **rounded[in_pairs(w)],
            )["y"]
        return y

    def moe(self, x: Tensor, norm: Norm, mixture: Mixture, *, residual: Tensor) -> Tensor:
        """As ``Prefill.moe``, with ``gate_up``'s inputs rounded; the router's and ``down``'s are not."""
        weight = mixture.gate_up[0]
        if not isinstance(weight, GroupQuantized):
            return super().moe(x, norm, mixture, residual=residual)
        rounded = self._rounded("norm", x, norm, in_pairs(weight))
        return prefill_moe(self, self.norm(x, norm), mixture, residual, rounded)

    def _rounded(self, operation: str, x: Tensor, norm: Norm | None, paired: bool) -> dict[str, Tensor]:
        """x as ``codes`` and ``scales``."""
        kernel = self.kernel(quantize_rows, int(x.shape[1]), self.tier, norm, paired=paired)
        return self.launch(operation, kernel, way="int8", x=x, norm=norm and norm.weight)
