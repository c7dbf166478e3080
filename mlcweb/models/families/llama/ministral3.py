"""Ministral 3 (``Ministral3ForCausalLM``): Mistral, whose queries grow with their position."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mlcweb.errors import CheckpointError
from mlcweb.kernels.attention.scoring import Growth, Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.models.families.llama.llama import Llama, LlamaConfig
from mlcweb.models.families.llama.mistral import sliding_windows
from mlcweb.models.parts.attention import Attention
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True, kw_only=True)
class Ministral3Config(LlamaConfig):
    """Ministral 3's numbers."""

    growth: Growth | None

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> Ministral3Config:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        common = cls.common(fields, sliding_windows(fields), epsilon=1e-5, theta=1e6)
        rope = config.get("rope_parameters") or config.get("rope_scaling")
        if not isinstance(rope, dict):
            raise CheckpointError("config.json lacks rope_parameters")
        inner = Fields(rope)
        if rope.get("llama_4_scaling_beta") is None:
            return cls(**common, growth=None)
        beta, length = inner.number("llama_4_scaling_beta"), inner.count("original_max_position_embeddings")
        return cls(**common, growth=Growth(beta, length))


class Ministral3(Llama):
    """The model."""

    def attention(
        self, config: Any, w: WeightBuilder, layout: HeadLayout, prefix: str, scoring: Scoring, rope: int
    ) -> Attention:
        scoring = replace(scoring, growth=config.growth)
        return super().attention(config, w, layout, prefix, scoring, rope)
