"""Granite 3 (``GraniteForCausalLM``): Llama, with factors of embeddings, scores, what is added, and logits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tvm.relax.frontend import nn

from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.models.families.llama.llama import Llama, LlamaConfig
from mlcweb.models.parts.attention import Attention
from mlcweb.models.parts.decoder import Outline
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.mlp import GatedMLP
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True, kw_only=True)
class GraniteConfig(LlamaConfig):
    """Granite's numbers, its factors as config.json has them; it divides logits by ``logits_scaling``."""

    embedding_multiplier: float
    attention_multiplier: float
    residual_multiplier: float
    logits_scaling: float

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> GraniteConfig:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        bias = fields.flag("attention_bias")
        return cls(
            **cls.common(fields, epsilon=1e-6),
            **multipliers(fields),
            attention_bias=bias,
            output_bias=bias,
            mlp_bias=fields.flag("mlp_bias"),
        )


def multipliers(fields: Fields) -> dict[str, Any]:
    """The four factors, 1 where they are missing."""
    kinds = ("embedding_multiplier", "attention_multiplier", "residual_multiplier", "logits_scaling")
    return {kind: fields.number(kind, 1.0) for kind in kinds}


class Granite(Llama):
    """The model."""

    def make_outline(self, config: GraniteConfig) -> Outline:
        return Outline(scale=config.embedding_multiplier, factor=1 / config.logits_scaling)

    def attention(
        self, config: Any, w: WeightBuilder, layout: HeadLayout, prefix: str, scoring: Scoring, rope: int
    ) -> Attention:
        return Attention(
            config,
            w,
            layout,
            prefix,
            scoring=replace(scoring, scale=config.attention_multiplier),
            qkv_bias=config.attention_bias,
            out_bias=config.output_bias,
            rope=rope,
            factor=config.residual_multiplier,
        )

    def mlp(self, config: Any, w: WeightBuilder, prefix: str) -> nn.Module:
        return GatedMLP(config, w, f"{prefix}.mlp", bias=config.mlp_bias, factor=config.residual_multiplier)
