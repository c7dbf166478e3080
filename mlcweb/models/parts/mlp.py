"""Declares the feed-forward half of a layer: gated, or with one hidden product."""

from __future__ import annotations

from tvm.relax.frontend import nn

from mlcweb.kernels.ops import Array
from mlcweb.kernels.products.matvec import Norm
from mlcweb.kernels.products.outputs import Activation
from mlcweb.models.parts.decoder import DecoderConfig, Step
from mlcweb.models.parts.weights import WeightBuilder


def gelu_of(name: str) -> Activation:
    """Which of the two a config.json means by a name of GELU."""
    return "gelu" if name == "gelu" else "gelu_tanh"


class GatedMLP(nn.Module):
    """``factor * down(activation(gate(x)) * up(x))``; ``names`` are the checkpoint's gate and up, or one that is both,
    and ``down`` its down.
    """

    def __init__(
        self,
        config: DecoderConfig,
        w: WeightBuilder,
        prefix: str,
        *,
        activation: Activation = "silu",
        names: tuple[str, ...] = ("gate_proj", "up_proj"),
        down: str = "down_proj",
        bias: bool = False,
        factor: float = 1.0,
    ) -> None:
        hidden, inner = config.hidden_size, config.intermediate_size
        rows = 2 * inner // len(names)
        self.gate_up_proj = w.gated({f"{prefix}.{n}.weight": rows for n in names}, hidden)
        self.down_proj = w.matrix({f"{prefix}.{down}.weight": hidden}, inner)
        self.gate_up_bias = w.row({f"{prefix}.{n}.bias": (rows,) for n in names}) if bias else None
        self.down_bias = w.row({f"{prefix}.{down}.bias": (hidden,)}) if bias else None
        self.activation, self.factor = activation, factor

    def forward(self, step: Step[Array], x_TD: Array, norm: Norm | None, residual: Array | None) -> Array:
        """``residual + mlp(norm(x))``."""
        ops = step.ops
        hidden_TI = ops.linear(
            "gate_up",
            x_TD,
            self.gate_up_proj,
            norm=norm,
            bias=self.gate_up_bias,
            activation=self.activation,
            gated=True,
        )
        return ops.linear(
            "down", hidden_TI, self.down_proj, bias=self.down_bias, residual=residual, factor=self.factor
        )


class MLP(nn.Module):
    """``down(activation(up(x)))``; ``names`` are the checkpoint's up and down."""

    def __init__(
        self,
        config: DecoderConfig,
        w: WeightBuilder,
        prefix: str,
        names: tuple[str, str],
        activation: Activation,
        *,
        bias: bool = True,
        transposed: bool = False,
    ) -> None:
        hidden, inner = config.hidden_size, config.intermediate_size
        up, down = (f"{prefix}.{name}" for name in names)
        self.up_proj = w.matrix({f"{up}.weight": inner}, hidden, transposed=transposed)
        self.up_bias = w.row({f"{up}.bias": (inner,)}) if bias else None
        self.down_proj = w.matrix({f"{down}.weight": hidden}, inner, transposed=transposed)
        self.down_bias = w.row({f"{down}.bias": (hidden,)}) if bias else None
        self.activation = activation

    def forward(self, step: Step[Array], x_TD: Array, norm: Norm | None, residual: Array | None) -> Array:
        """``residual + mlp(norm(x))``."""
        ops = step.ops
        hidden_TI = ops.linear(
            "up", x_TD, self.up_proj, norm=norm, bias=self.up_bias, activation=self.activation
        )
        return ops.linear("down", hidden_TI, self.down_proj, bias=self.down_bias, residual=residual)
