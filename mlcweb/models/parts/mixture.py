"""Declares a layer's second half that is a mixture of experts, and reads how many there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tvm.relax.frontend import nn

from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.kernels.experts.mixture import Mixture
from mlcweb.kernels.experts.route import MAX_EXPERTS
from mlcweb.kernels.experts.weights import Experts, expert_ranges
from mlcweb.kernels.ops import Array
from mlcweb.kernels.products.matvec import Norm
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


class MixtureMLP(nn.Module):
    """The sum of a token's experts, each ``down(silu(gate(x)) * up(x))``, by their shares.

    ``config`` has ``experts`` and ``experts_per_token``; its ``intermediate_size`` is an expert's. ``names`` are the
    checkpoint's gate, up and down.
    """

    def __init__(
        self,
        config: Any,
        w: WeightBuilder,
        prefix: str,
        *,
        names: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj"),
        normalized: bool = True,
    ) -> None:
        hidden, inner = config.hidden_size, config.intermediate_size
        gate, up, down = names
        experts = [f"{prefix}.experts.{e}" for e in range(config.experts)]
        self.gate = w.matrix({f"{prefix}.gate.weight": config.experts}, hidden, quantized=False)
        gate_up = [{f"{e}.{gate}.weight": inner, f"{e}.{up}.weight": inner} for e in experts]
        self.gate_up_proj = _stacked(w, gate_up, hidden)
        self.down_proj = _stacked(w, [{f"{e}.{down}.weight": hidden} for e in experts], inner)
        self.experts_per_token, self.normalized = config.experts_per_token, normalized

    def forward(self, step: Step[Array], x_TD: Array, norm: Norm, residual: Array) -> Array:
        """``residual + mixture(norm(x))``."""
        mixture = Mixture(
            self.gate,
            self.gate_up_proj,
            self.down_proj,
            self.experts_per_token,
            normalized=self.normalized,
        )
        return step.ops.moe(x_TD, norm, mixture, residual=residual)


def _stacked(w: WeightBuilder, experts: Sequence[Mapping[str, int]], columns: int) -> Experts:
    """Experts of matrices ``[rows, columns]``, whose sources each has, with their rows."""
    ranges = expert_ranges(len(experts), sum(experts[0].values()), columns, w.scheme, next(iter(experts[0])))
    stacks = [{name: rows for e in numbers for name, rows in experts[e].items()} for numbers in ranges]
    return Experts([w.matrix(sources, columns, whole=True) for sources in stacks], ranges)
