"""OLMoE (``OlmoeForCausalLM``): Llama with norms over all queries and all keys, and 64 experts, of which 8 a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tvm.relax.frontend import nn

from mlcweb.errors import UnsupportedError
from mlcweb.models.families.llama.llama import Llama, LlamaConfig
from mlcweb.models.parts.fields import Fields, shown
from mlcweb.models.parts.mixture import MixtureMLP, expert_counts
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True, kw_only=True)
class OlmoeConfig(LlamaConfig):
    """OLMoE's numbers. ``normalized``: a token's shares make 1."""

    mixture: ClassVar[bool] = True

    experts: int
    experts_per_token: int
    normalized: bool

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> OlmoeConfig:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        if config.get("clip_qkv") is not None:
            raise UnsupportedError(
                f"config.json has clip_qkv = {shown(config['clip_qkv'])}, which is not supported; only null"
            )
        bias = fields.flag("attention_bias")
        return cls(
            **cls.common(fields, epsilon=1e-5),
            **expert_counts(fields, "num_experts"),
            normalized=fields.flag("norm_topk_prob"),
            attention_bias=bias,
            output_bias=bias,
        )


class Olmoe(Llama):
    """The model."""

    head_norms = "full_rms"

    def mlp(self, config: Any, w: WeightBuilder, prefix: str) -> nn.Module:
        return MixtureMLP(config, w, f"{prefix}.mlp", normalized=config.normalized)
