"""Mixtral 8x7B and 8x22B (``MixtralForCausalLM``): Mistral, whose tokens each take two of a layer's eight MLPs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tvm.relax.frontend import nn

from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.kernels.experts.mixture import Mixture
from mlcweb.kernels.experts.route import MAX_EXPERTS
from mlcweb.kernels.experts.weights import Experts, expert_ranges
from mlcweb.kernels.ops import Array
from mlcweb.kernels.products.matvec import Norm
from mlcweb.models.families.llama import Llama, LlamaConfig
from mlcweb.models.families.mistral import sliding_windows
from mlcweb.models.parts.decoder import Step
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True, kw_only=True)
class MixtralConfig(LlamaConfig):
    """Mixtral's numbers: config.json's num_local_experts and num_experts_per_tok among them."""

    mixture: ClassVar[bool] = True

    experts: int
    experts_per_token: int

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> MixtralConfig:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        experts, experts_per_token = fields.count("num_local_experts"), fields.count("num_experts_per_tok")
        if experts_per_token > experts:
            raise CheckpointError(
                f"config.json: num_experts_per_tok is {experts_per_token}, and there are {experts} experts"
            )
        if experts > MAX_EXPERTS:
            raise UnsupportedError(
                f"config.json has num_local_experts = {experts}, which is not supported; at most {MAX_EXPERTS}"
            )
        common = cls.common(fields, sliding_windows(fields))
        return cls(**common, experts=experts, experts_per_token=experts_per_token)


class MixtureMLP(nn.Module):
    """The sum of a token's experts, each ``w2(silu(w1(x)) * w3(x))``, by their shares."""

    def __init__(self, config: MixtralConfig, w: WeightBuilder, prefix: str) -> None:
        hidden, inner = config.hidden_size, config.intermediate_size
        experts = [f"{prefix}.experts.{e}" for e in range(config.experts)]
        self.gate = w.matrix({f"{prefix}.gate.weight": config.experts}, hidden, quantized=False)
        gate_up = [{f"{e}.w1.weight": inner, f"{e}.w3.weight": inner} for e in experts]
        self.gate_up_proj = _stacked(w, gate_up, hidden)
        self.down_proj = _stacked(w, [{f"{e}.w2.weight": hidden} for e in experts], inner)
        self.experts_per_token = config.experts_per_token

    def forward(self, step: Step[Array], x_TD: Array, norm: Norm, residual: Array) -> Array:
        """``residual + mixture(norm(x))``."""
        mixture = Mixture(self.gate, self.gate_up_proj, self.down_proj, self.experts_per_token)
        return step.ops.moe(x_TD, norm, mixture, residual=residual)


def _stacked(w: WeightBuilder, experts: Sequence[Mapping[str, int]], columns: int) -> Experts:
    """Experts of matrices ``[rows, columns]``, whose sources each has, with their rows."""
    ranges = expert_ranges(len(experts), sum(experts[0].values()), columns, w.scheme, next(iter(experts[0])))
    stacks = [{name: rows for e in numbers for name, rows in experts[e].items()} for numbers in ranges]
    return Experts([w.matrix(sources, columns, whole=True) for sources in stacks], ranges)


class Mixtral(Llama):
    """The model."""

    def mlp(self, config: Any, w: WeightBuilder, prefix: str) -> nn.Module:
        return MixtureMLP(config, w, f"{prefix}.block_sparse_moe")
