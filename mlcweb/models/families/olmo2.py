"""OLMo-2 (``Olmo2ForCausalLM``): no norm before a half but one after it, and norms over all queries and all keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm.relax.frontend import nn

from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.norms.head_norm import HeadNorm
from mlcweb.kernels.ops import Array
from mlcweb.models.families.llama import LlamaConfig
from mlcweb.models.parts.attention import Attention
from mlcweb.models.parts.decoder import Decoder, Step
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.mlp import GatedMLP
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True)
class Olmo2Config(LlamaConfig):
    """OLMo-2's numbers."""

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> Olmo2Config:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        bias = fields.flag("attention_bias")
        return cls(**cls.common(fields), attention_bias=bias, output_bias=bias)


class Olmo2Attention(Attention):
    """With norms over all query heads together, and all key heads."""

    def __init__(self, config: Olmo2Config, w: WeightBuilder, layout: HeadLayout, prefix: str) -> None:
        bias, scoring = config.attention_bias, Scoring(config.head_dim**-0.5)
        super().__init__(config, w, layout, prefix, scoring=scoring, qkv_bias=bias, out_bias=bias)
        self.q_norm = w.row({f"{prefix}.q_norm.weight": (config.query_width,)})
        self.k_norm = w.row({f"{prefix}.k_norm.weight": (config.key_width,)})
        self.epsilon = config.norm_eps

    def head_norm(self) -> HeadNorm:
        return HeadNorm(self.q_norm, self.k_norm, self.epsilon, "full_rms")


class Olmo2Layer(nn.Module):
    """Each half's outputs are normalized before they are added."""

    def __init__(self, config: Olmo2Config, w: WeightBuilder, layout: HeadLayout, index: int) -> None:
        prefix, hidden = f"model.layers.{index}", config.hidden_size
        self.self_attn = Olmo2Attention(config, w, layout, f"{prefix}.self_attn")
        self.post_attention_layernorm = w.vector(f"{prefix}.post_attention_layernorm.weight", hidden)
        self.mlp = GatedMLP(config, w, f"{prefix}.mlp")
        self.post_feedforward_layernorm = w.vector(f"{prefix}.post_feedforward_layernorm.weight", hidden)
        self.config = config

    def forward(self, step: Step[Array], x_TD: Array) -> Array:
        norm, ops = self.config.norm, step.ops
        x_TD = ops.norm(
            self.self_attn(step, x_TD, None, None), norm(self.post_attention_layernorm), residual=x_TD
        )
        y_TD = self.mlp(step, x_TD, None, None)
        return ops.norm(y_TD, norm(self.post_feedforward_layernorm), residual=x_TD)


class Olmo2(Decoder):
    """The model."""

    def layer(self, config: Olmo2Config, w: WeightBuilder, layout: HeadLayout, index: int) -> nn.Module:
        return Olmo2Layer(config, w, layout, index)
