"""What decode's and prefill's operations share: a kernel once for each shape, a launch for each piece of a weight."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any

from tvm import tirx
from tvm.relax.frontend.nn import Tensor, op

from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.layouts.pieces import Apart, Matrix, Piece, pieces
from mlcweb.kernels.layouts.quantized import GroupQuantized
from mlcweb.kernels.layouts.storage import Values, WholeMatrix
from mlcweb.kernels.norms.head_norm import HeadNorm, norm_heads
from mlcweb.kernels.products.matvec import Norm
from mlcweb.kernels.products.outputs import Activation


@dataclass(frozen=True)
class Target:
    """What kernels are made for: a tier, the attention's shape, and the longest context in tokens."""

    tier: Tier
    layout: HeadLayout
    context: int


@dataclass(frozen=True)
class Inputs:
    """An entry's tensors: ``state`` i32 ``[8]``, the page table, and ``tokens`` i32 ``[n]``, which decode has not."""

    state: Tensor
    page_table: Tensor
    tokens: Tensor | None = None


@dataclass(frozen=True)
class Folded:
    """What is folded into a product's outputs: bias, activation (times the up half, if ``gated``), residual.

    ``times`` are outputs of another product, which these are multiplied by. ``bias_first``: where the bias begins.
    """

    bias: Values | None = None
    activation: Activation | None = None
    gated: bool = False
    residual: Tensor | None = None
    cap: float | None = None
    times: Tensor | None = None
    bias_first: int = 0

    @property
    def key(self) -> Hashable:
        """What a kernel depends on."""
        return (
            self.bias is not None,
            self.bias_first,
            self.activation,
            self.gated,
            self.residual is not None,
            self.times is not None,
            self.cap,
        )

    @property
    def options(self) -> dict[str, Any]:
        """What every product's kernel is asked for; only decode's takes the cap too."""
        return {
            "bias": self.bias,
            "residual": self.residual is not None,
            "activation": self.activation,
            "gated": self.gated,
            "times": self.times is not None,
            "bias_first": self.bias_first,
        }

    @property
    def tensors(self) -> list[Tensor]:
        """A kernel's arguments after the weight."""
        bias = self.bias.tensors if self.bias else []
        return [*bias, *(tensor for tensor in (self.residual, self.times) if tensor is not None)]

    def outputs(self, weight: Matrix) -> int:
        """Columns of the result."""
        return weight.rows // 2 if self.gated else weight.rows


class Ops:
    """What decode and prefill share: their target, an entry's inputs, and one PrimFunc per distinct kernel."""

    def __init__(self, target: Target, inputs: Inputs) -> None:
        self.tier, self.layout, self.context = target.tier, target.layout, target.context
        self.inputs = inputs
        self._made: dict[Hashable, tirx.PrimFunc] = {}

    def linear(
        self,
        name: str,
        x: Tensor,
        weight: Matrix | Apart,
        *,
        norm: Norm | None = None,
        bias: Values | None = None,
        activation: Activation | None = None,
        gated: bool = False,
        residual: Tensor | None = None,
        rows: bool = False,
    ) -> Tensor:
        """``residual + activation(linear(norm(x)) + bias)``; ``gated``: the weight is gate over up, and the result
        activation(gate) * up. ``rows``: for attention, which reads decode's outputs in their own order.
        """
        if not isinstance(weight, Apart):
            return self._product(name, x, weight, norm, Folded(bias, activation, gated, residual), rows=rows)
        up = Folded(bias, bias_first=weight.gate.rows)
        times = self._product(f"{name}_up", x, weight.up, norm, up, rows=rows)
        gate = Folded(bias, activation, times=times)
        return self._product(f"{name}_gate", x, weight.gate, norm, gate, rows=rows)

    def _product(
        self, name: str, x: Tensor, weight: Matrix, norm: Norm | None, folded: Folded, *, rows: bool = False
    ) -> Tensor:
        raise NotImplementedError

    def _once(self, key: Hashable, make: Callable[[], tirx.PrimFunc]) -> tirx.PrimFunc:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _launch(
        self,
        name: str,
        weight: Matrix,
        key: Hashable,
        make: Callable[[WholeMatrix, Piece | None], tirx.PrimFunc],
        args: Callable[[WholeMatrix], list[Tensor]],
        out: Tensor,
    ) -> Tensor:
        """A launch for each piece of ``weight``: the first makes ``out``, the others write into it."""
        for i, (part, piece) in enumerate(pieces(weight)):
            func = self._once((key, _shape(part), piece), partial(make, part, piece))
            if i == 0:
                out = op.tensor_ir_op(func, name, args(part), out)
            else:
                same = Tensor.placeholder(out.shape, "float32")
                given = [*args(part), out]
                out = op.tensor_ir_inplace_op(func, name, given, [len(given) - 1], same)
        return out

    def _norm_heads(self, entry: str, rows: Any, qkv: Tensor, norm: HeadNorm) -> Tensor:
        key = ("norm_heads", norm.q_weight.columns, norm.k_weight.columns, norm.epsilon, norm.kind)
        func = self._once(key, lambda: norm_heads(self.layout, norm, rows))
        out = Tensor.placeholder(qkv.shape, "float32")
        args = [qkv, *norm.q_weight.tensors, *norm.k_weight.tensors]
        return op.tensor_ir_op(func, f"{entry}_norm_heads", args, out)


def _shape(weight: WholeMatrix) -> tuple[str, int, int]:
    stored = weight.form.name if isinstance(weight, GroupQuantized) else weight.dtype
    return stored, weight.rows, weight.columns


def norm_key(norm: Norm | None) -> Hashable:
    """What a kernel depends on of a norm."""
    return norm and (norm.weight.columns, norm.epsilon, norm.centered, norm.bias is not None)


def group_quantized(weight: WholeMatrix) -> GroupQuantized:
    """``weight``. Raises ValueError for one that is not quantized, which has no products of int8 or on matrices."""
    if not isinstance(weight, GroupQuantized):
        raise ValueError("products of int8 and on subgroup matrices need group-quantized weights")
    return weight
