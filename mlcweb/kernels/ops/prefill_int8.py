"""Operations on a chunk whose products take int8 activations."""

from tvm.relax.frontend.nn import Tensor, op

from mlcweb.kernels.experts.launches import Mixture, MoeLaunches
from mlcweb.kernels.layouts.pieces import Matrix, pieces
from mlcweb.kernels.layouts.quantized import GroupQuantized
from mlcweb.kernels.layouts.storage import GROUP
from mlcweb.kernels.ops.prefill import Prefill
from mlcweb.kernels.ops.shared import Folded, group_quantized, norm_key
from mlcweb.kernels.products.matmul_int8 import in_pairs, matmul_int8
from mlcweb.kernels.products.matvec import Norm
from mlcweb.kernels.products.rows import quantize_rows


class PrefillInt8(Prefill):
    """As ``Prefill``, with activations rounded to int8 before each product, in groups as weights are."""

    def _product(
        self, name: str, x: Tensor, weight: Matrix, norm: Norm | None, folded: Folded, *, rows: bool = False
    ) -> Tensor:
        if norm is not None and norm.centered:
            x, norm = self.norm(x, norm), None
        parts = [part for part, _ in pieces(weight)]
        if not all(isinstance(part, GroupQuantized) for part in parts):
            return super()._product(name, x, weight, norm, folded, rows=rows)
        orders = {in_pairs(group_quantized(part)) for part in parts}
        label = "norm" if norm else f"round_{name}"
        rounded = {paired: self._rounded(label, x, norm, paired) for paired in sorted(orders)}
        return self._launch(
            f"prefill_int8_{name}",
            weight,
            (name, folded.key),
            lambda part, piece: matmul_int8(
                group_quantized(part),
                **folded.options,
                piece=piece,
            ),
            lambda part: [*rounded[in_pairs(group_quantized(part))], *part.tensors, *folded.tensors],
            Tensor.placeholder((x.shape[0], folded.outputs(weight)), "float32"),
        )

    def moe(self, x: Tensor, norm: Norm, mixture: Mixture, *, residual: Tensor) -> Tensor:
        """As ``Prefill.moe``, with ``gate_up``'s inputs rounded; the router's and ``down``'s are not."""
        weight = mixture.gate_up[0]
        if not isinstance(weight, GroupQuantized):
            return super().moe(x, norm, mixture, residual=residual)
        rounded = self._rounded("norm", x, norm, in_pairs(weight))
        return MoeLaunches(self.tier, self._once).prefill(self.norm(x, norm), mixture, residual, rounded)

    def _rounded(self, name: str, x: Tensor, norm: Norm | None, paired: bool) -> tuple[Tensor, Tensor]:
        n, width = x.shape[0], int(x.shape[1])
        groups = -(-width // GROUP)
        func = self._once(
            ("int8", width, norm_key(norm), paired),
            lambda: quantize_rows(width, self.tier, norm, paired=paired),
        )
        outs = [
            Tensor.placeholder((n, groups * GROUP // 4), "uint32"),
            Tensor.placeholder((n, groups), "float32"),
        ]
        args = [x, *(norm.tensors if norm else [])]
        codes, scales = op.tensor_ir_op(func, f"prefill_int8_{name}", args, outs)
        return codes, scales
