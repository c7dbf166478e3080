"""Qwen3's mixtures of experts (``Qwen3MoeForCausalLM``): Qwen3, whose tokens each take eight of many small MLPs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tvm.relax.frontend import nn

from mlcweb.models.families.qwen.qwen2 import qwen_windows
from mlcweb.models.families.qwen.qwen3 import Qwen3, Qwen3Config
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.mixture import MixtureMLP, expert_counts
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True, kw_only=True)
class Qwen3MoeConfig(Qwen3Config):
    """The numbers; ``intermediate_size`` is an expert's. ``normalized``: a token's shares make 1."""

    mixture: ClassVar[bool] = True

    experts: int
    experts_per_token: int
    normalized: bool

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> Qwen3MoeConfig:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields({**config, "intermediate_size": Fields(config).count("moe_intermediate_size")})
        fields.only("decoder_sparse_step", 1)
        fields.only("mlp_only_layers", [])
        bias = fields.flag("attention_bias")
        return cls(
            **cls.common(fields, qwen_windows(fields)),
            **expert_counts(fields, "num_experts"),
            normalized=fields.flag("norm_topk_prob"),
            attention_bias=bias,
            output_bias=bias,
        )


class Qwen3Moe(Qwen3):
    """The model."""

    def mlp(self, config: Any, w: WeightBuilder, prefix: str) -> nn.Module:
        return MixtureMLP(config, w, f"{prefix}.mlp", normalized=config.normalized)
