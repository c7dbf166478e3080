"""Mixtral 8x7B and 8x22B (``MixtralForCausalLM``): Mistral, whose tokens each take two of a layer's eight MLPs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tvm.relax.frontend import nn

from mlcweb.models.families.llama.llama import Llama, LlamaConfig
from mlcweb.models.families.llama.mistral import sliding_windows
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.mixture import MixtureMLP, expert_counts
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
        counts = expert_counts(fields, "num_local_experts")
        return cls(**cls.common(fields, sliding_windows(fields)), **counts)


class Mixtral(Llama):
    """The model."""

    def mlp(self, config: Any, w: WeightBuilder, prefix: str) -> nn.Module:
        return MixtureMLP(config, w, f"{prefix}.block_sparse_moe", names=("w1", "w3", "w2"))
