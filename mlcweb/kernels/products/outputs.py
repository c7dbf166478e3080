"""Finishes a product's sums before they are stored: bias, activation, gate, soft cap.

``lanes`` is 1 for float32 and 4 for float32x4; a value is a name, since it is used more than once.
"""

from dataclasses import dataclass
from typing import Literal

from mlcweb.kernels.language.builder import KernelBuilder, call, exp, f32, splat
from mlcweb.kernels.language.expr import Buffer, Expr, Index, T
from mlcweb.kernels.layouts.pieces import Piece
from mlcweb.kernels.layouts.storage import Values

Activation = Literal["silu", "gelu", "gelu_tanh", "sigmoid", "tanh"]
ACTIVATIONS: tuple[Activation, ...] = ("silu", "gelu", "gelu_tanh", "sigmoid", "tanh")


@dataclass(frozen=True)
class ClampedSwiGLU:
    """Of gates g, at most ``limit``, and ups u, within ``limit`` of 0: ``g * sigmoid(steepness * g) * (u + 1)``."""

    limit: float
    steepness: float


@dataclass(frozen=True)
class Folded:
    """What is folded into a product's outputs: ``other + factor * activation(sums + bias)``, and so on.

    ``bias``: of which the product's outputs have the values from ``bias_first``; of experts, a row for each.
    ``gated``: the weight is gate over up, and the result activation(gate) * up. ``cap``: soft, of decode's products
    alone. ``joined``: another tensor, the kernel's argument ``residual``, is added, or multiplied by.
    """

    bias: Values | None = None
    bias_first: int = 0
    activation: Activation | ClampedSwiGLU | None = None
    gated: bool = False
    cap: float | None = None
    joined: Literal["added", "multiplied"] | None = None
    factor: float = 1.0

    def outputs(self, rows: int) -> int:
        """Columns of the result, of a weight of ``rows`` rows."""
        return rows // 2 if self.gated else rows

    def bind_other(self, k: KernelBuilder, rows: Index, piece: Piece) -> Buffer | None:
        """Declare what is joined as the kernel's next argument, if there is anything."""
        return k.buffer("residual", (rows, piece.outputs), "float32") if self.joined else None

    def join(self, value: Expr, other: Expr | None, lanes: int = 1) -> Expr:
        """``value`` times the factor, with what is joined."""
        if self.factor != 1.0:
            value = value * (splat(f32(self.factor)) if lanes == 4 else f32(self.factor))
        if other is None:
            return value
        return other * value if self.joined == "multiplied" else other + value

    def activated(self, value: Expr, lanes: int = 1) -> Expr:
        """The activation of ``value``, which is a name, as far as it needs no ``up``."""
        if self.activation is None or isinstance(self.activation, ClampedSwiGLU):
            return value
        return activate(self.activation, value, lanes)

    def times_up(self, gate: Expr, up: Expr, lanes: int = 1) -> Expr:
        """An activated gate times its ``up``, with what of the activation needs both."""
        if isinstance(self.activation, ClampedSwiGLU):
            return _clamped_swiglu(self.activation, gate, up, lanes)
        return gate * up

    def refuse_cap(self) -> None:
        """Raise ValueError for a cap, in kernels that have none."""
        if self.cap is not None:
            raise ValueError("a prefill's product caps nothing")


NOTHING = Folded()

# erf by Abramowitz and Stegun, 7.1.26: within 1.5e-7
_ERF_P = 0.3275911
_ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
_TANH_IS_ONE = 30.0  # 2x, where 1 - tanh(x) is far below float32's last bit and exp(2x) far below its largest


def activate(kind: Activation, value: Expr, lanes: int = 1) -> Expr:
    """The activation of a value; ``gelu`` is by erf, and ``gelu_tanh`` its approximation by tanh."""

    def number(constant: float) -> Expr:
        return splat(f32(constant)) if lanes == 4 else f32(constant)

    if kind == "silu":
        return _times_sigmoid(value, value, lanes)
    if kind == "sigmoid":
        return _times_sigmoid(number(1.0), value, lanes)
    if kind == "tanh":
        return soft_cap(value, 1.0, lanes)
    if kind == "gelu_tanh":
        # 0.5 (1 + tanh u) = sigmoid(2 u)
        cubic = value + value * value * value * number(0.044715)
        return _times_sigmoid(value, cubic * number(2 * 0.7978845608028654), lanes)
    scaled = call(_dtype(lanes), "abs", value) * number(0.7071067811865476)
    t = number(1.0) / (number(1.0) + scaled * number(_ERF_P))
    series = number(0.0)
    for coefficient in reversed(_ERF):
        series = (series + number(coefficient)) * t
    erf = number(1.0) - series * exp(number(0.0) - scaled * scaled)
    signed = call(_dtype(lanes), "sign", value) * erf
    return value * number(0.5) * (number(1.0) + signed)


def _clamped_swiglu(kind: ClampedSwiGLU, gate: Expr, up: Expr, lanes: int) -> Expr:
    def number(constant: float) -> Expr:
        return splat(f32(constant)) if lanes == 4 else f32(constant)

    limit, dtype = number(kind.limit), _dtype(lanes)
    gate, up = call(dtype, "min", gate, limit), call(dtype, "clamp", up, number(-kind.limit), limit)
    return _times_sigmoid(gate, gate * number(kind.steepness), lanes) * (up + number(1.0))


def soft_cap(value: Expr, cap: float, lanes: int = 1) -> Expr:
    """cap * tanh(value / cap).

    WGSL's own tanh may be a quotient of exponentials that overflow, and so NaN, from about 44.
    """

    def number(constant: float) -> Expr:
        return splat(f32(constant)) if lanes == 4 else f32(constant)

    twice = T.min(value * number(2.0 / cap), number(_TANH_IS_ONE))
    return number(cap) - number(2.0 * cap) / (exp(twice) + number(1.0))


def _times_sigmoid(value: Expr, exponent: Expr, lanes: int) -> Expr:
    if lanes == 4:
        return value / (splat(f32(1.0)) + exp(splat(f32(0.0)) - exponent))
    return value / (1.0 + exp(-exponent))


def _dtype(lanes: int) -> str:
    return "float32x4" if lanes == 4 else "float32"
