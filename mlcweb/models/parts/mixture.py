"""Declares a layer's second half that is a mixture of experts, and reads how many there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tvm.relax.frontend import nn

from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.kernels.experts.mixture import Mixture
from mlcweb.kernels.experts.route import MAX_EXPERTS
from mlcweb.kernels.experts.shared import GATES
from mlcweb.kernels.experts.weights import Experts, expert_ranges
from mlcweb.kernels.ops import Array
from mlcweb.kernels.products.matvec import Norm
from mlcweb.kernels.products.outputs import Activation, ClampedSwiGLU
from mlcweb.models.parts.decoder import Step
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.weights import WeightBuilder


def expert_counts(fields: Fields, key: str) -> dict[str, Any]:
    """A model's experts, which ``key`` has, and a token's. Raises CheckpointError or UnsupportedError."""
    experts, experts_per_token = fields.count(key), fields.count("num_experts_per_tok")
    if experts_per_token > experts:
        raise CheckpointError(
            f"config.json: num_experts_per_tok is {experts_per_token}, and there are {experts} experts"
        )
    if experts > MAX_EXPERTS:
        raise UnsupportedError(
            f"config.json has {key} = {experts}, which is not supported; at most {MAX_EXPERTS}"
        )
    return {"experts": experts, "experts_per_token": experts_per_token}


class SharedExpert(nn.Module):
    """An expert that every token has, of ``inner`` hidden values; if there is a ``gate``, times the sigmoid of its
    product with x.
    """

    def __init__(
        self, w: WeightBuilder, prefix: str, config: Any, inner: int, *, gate: str | None = None
    ) -> None:
        hidden = config.hidden_size
        self.gate_up_proj = w.gated({f"{prefix}.{n}_proj.weight": inner for n in ("gate", "up")}, hidden)
        self.down_proj = w.matrix({f"{prefix}.down_proj.weight": hidden}, inner)
        self.gate = None
        if gate is not None:
            rows = np.zeros(GATES, np.int64)
            self.gate = w.matrix({f"{gate}.weight": 1}, hidden, quantized=False, order=rows)

    def forward(self, step: Step[Array], x_TD: Array, norm: Norm, residual: Array) -> Array:
        """``residual + sigmoid(gate(norm(x))) * expert(norm(x))``."""
        ops = step.ops
        hidden_TI = ops.linear(
            "shared_gate_up", x_TD, self.gate_up_proj, norm=norm, activation="silu", gated=True
        )
        if self.gate is None:
            return ops.linear("shared_down", hidden_TI, self.down_proj, residual=residual)
        y_TD = ops.linear("shared_down", hidden_TI, self.down_proj)
        gates_T4 = ops.linear("shared_gate", x_TD, self.gate, norm=norm, activation="sigmoid")
        return ops.add_scaled(y_TD, gates_T4, residual)


class MixtureMLP(nn.Module):
    """The sum of a token's experts, each ``down(activation(gate(x)) * up(x))``, by their shares.

    ``config`` has ``experts`` and ``experts_per_token``; its ``intermediate_size`` is an expert's. ``names`` are the
    checkpoint's gate, up and down, and ``router`` what makes the logits. ``bias``: all of these have one. ``shared``
    is an expert that every token has besides.
    """

    def __init__(
        self,
        config: Any,
        w: WeightBuilder,
        prefix: str,
        *,
        names: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj"),
        router: str = "gate",
        activation: Activation | ClampedSwiGLU = "silu",
        normalized: bool = True,
        bias: bool = False,
        shared: SharedExpert | None = None,
    ) -> None:
        hidden, inner = config.hidden_size, config.intermediate_size
        gate, up, down = names
        experts = [f"{prefix}.experts.{e}" for e in range(config.experts)]
        self.gate = w.matrix({f"{prefix}.{router}.weight": config.experts}, hidden, quantized=False)
        gate_up = [{f"{e}.{gate}.weight": inner, f"{e}.{up}.weight": inner} for e in experts]
        self.gate_up_proj = _stacked(w, gate_up, hidden)
        self.down_proj = _stacked(w, [{f"{e}.{down}.weight": hidden} for e in experts], inner)
        self.gate_bias = w.row({f"{prefix}.{router}.bias": (config.experts,)}) if bias else None
        self.gate_up_bias, self.down_bias = None, None
        if bias:
            both = {f"{e}.{name}.bias": (inner,) for e in experts for name in (gate, up)}
            self.gate_up_bias = w.row(both, rows=config.experts)
            self.down_bias = w.row({f"{e}.{down}.bias": (hidden,) for e in experts}, rows=config.experts)
        self.experts_per_token, self.normalized = config.experts_per_token, normalized
        self.activation, self.shared = activation, shared

    def forward(self, step: Step[Array], x_TD: Array, norm: Norm, residual: Array) -> Array:
        """``residual + mixture(norm(x))``."""
        mixture = Mixture(
            self.gate,
            self.gate_up_proj,
            self.down_proj,
            self.experts_per_token,
            self.activation,
            self.normalized,
            self.gate_bias,
            self.gate_up_bias,
            self.down_bias,
        )
        y_TD = step.ops.moe(x_TD, norm, mixture, residual=residual)
        return y_TD if self.shared is None else self.shared(step, x_TD, norm, y_TD)


def _stacked(w: WeightBuilder, experts: Sequence[Mapping[str, int]], columns: int) -> Experts:
    """Experts of matrices ``[rows, columns]``, whose sources each has, with their rows."""
    ranges = expert_ranges(len(experts), sum(experts[0].values()), columns, w.scheme, next(iter(experts[0])))
    stacks = [{name: rows for e in numbers for name, rows in experts[e].items()} for numbers in ranges]
    return Experts([w.matrix(sources, columns, whole=True) for sources in stacks], ranges)
