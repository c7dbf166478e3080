"""Qwen3 (``Qwen3ForCausalLM``): Llama with an RMSNorm of each query and key head before RoPE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.models.families.llama import Llama, LlamaConfig
from mlcweb.models.families.qwen2 import qwen_windows
from mlcweb.models.parts.attention import Attention, NormedAttention
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


class Qwen3(Llama):
    """The model."""

    def attention(
        self, config: Any, w: WeightBuilder, layout: HeadLayout, prefix: str, scoring: Scoring, rope: int
    ) -> Attention:
        bias = config.attention_bias
        return NormedAttention(
            config, w, layout, prefix, scoring=scoring, rope=rope, qkv_bias=bias, out_bias=bias
        )
