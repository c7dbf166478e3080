"""Qwen1.5-MoE (``Qwen2MoeForCausalLM``): Qwen2, with an expert of every token beside those that a token chooses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tvm.relax.frontend import nn

from mlcweb.models.families.llama.llama import Llama, LlamaConfig
from mlcweb.models.families.qwen.qwen2 import qwen_windows
from mlcweb.models.parts.fields import Fields, multiple_of
from mlcweb.models.parts.mixture import MixtureMLP, SharedExpert, expert_counts
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True, kw_only=True)
class Qwen2MoeConfig(LlamaConfig):
    """The numbers; ``intermediate_size`` is an expert's. ``normalized``: a chosen expert's shares make 1."""

    mixture: ClassVar[bool] = True

    experts: int
    experts_per_token: int
    shared_size: int
    normalized: bool

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> Qwen2MoeConfig:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields({**config, "intermediate_size": Fields(config).count("moe_intermediate_size", 1408)})
        fields.only("decoder_sparse_step", 1)
        fields.only("mlp_only_layers", [])
        shared = fields.count("shared_expert_intermediate_size", 5632)
        multiple_of("shared_expert_intermediate_size", shared, 4)
        return cls(
            **cls.common(fields, qwen_windows(fields), epsilon=1e-6),
            **expert_counts(fields, "num_experts"),
            shared_size=shared,
            normalized=fields.flag("norm_topk_prob"),
            attention_bias=fields.flag("qkv_bias", True),
        )


class Qwen2Moe(Llama):
    """The model."""

    def mlp(self, config: Any, w: WeightBuilder, prefix: str) -> nn.Module:
        shared = SharedExpert(
            w,
            f"{prefix}.mlp.shared_expert",
            config,
            config.shared_size,
            gate=f"{prefix}.mlp.shared_expert_gate",
        )
        return MixtureMLP(config, w, f"{prefix}.mlp", normalized=config.normalized, shared=shared)
