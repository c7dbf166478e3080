"""Qwen3 (``Qwen3ForCausalLM``): Llama with an RMSNorm of each query and key head before RoPE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.norms.head_norm import HeadNorm
from mlcweb.models.families.llama import Llama, LlamaConfig
from mlcweb.models.families.qwen2 import qwen_windows
from mlcweb.models.parts.attention import Attention
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True)
class Qwen3Config(LlamaConfig):
    """Qwen3's numbers."""

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> Qwen3Config:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        bias = fields.flag("attention_bias")
        return cls(**cls.common(fields, qwen_windows(fields)), attention_bias=bias, output_bias=bias)


class Qwen3Attention(Attention):
    """With the norms' weights, which all heads share."""

    def __init__(
        self, config: Qwen3Config, w: WeightBuilder, layout: HeadLayout, prefix: str, scoring: Scoring
    ) -> None:
        bias, size = config.attention_bias, (config.head_dim,)
        super().__init__(config, w, layout, prefix, scoring=scoring, qkv_bias=bias, out_bias=bias)
        self.q_norm = w.row({f"{prefix}.q_norm.weight": size})
        self.k_norm = w.row({f"{prefix}.k_norm.weight": size})
        self.epsilon = config.norm_eps

    def head_norm(self) -> HeadNorm:
        return HeadNorm(self.q_norm, self.k_norm, self.epsilon, "rms")


class Qwen3(Llama):
    """The model."""

    def attention(
        self, config: Any, w: WeightBuilder, layout: HeadLayout, prefix: str, scoring: Scoring
    ) -> Attention:
        return Qwen3Attention(config, w, layout, prefix, scoring)
