"""Hunyuan's dense models (``HunYuanDenseV1ForCausalLM``): Llama, whose queries and keys are normalized after RoPE."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mlcweb.errors import CheckpointError
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.models.families.llama.llama import Llama, LlamaConfig
from mlcweb.models.parts.attention import Attention, NormedAttention
from mlcweb.models.parts.fields import Fields, is_positive, shown
from mlcweb.models.parts.rope import RopeSettings
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True, kw_only=True)
class HunyuanConfig(LlamaConfig):
    """Hunyuan's numbers. ``ropes``: what turns queries and keys before their norms, and nothing after them."""

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> HunyuanConfig:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        fields.only("use_qk_norm", True)
        fields.only("use_cla", False)
        fields.only("mlp_bias", False)
        common = cls.common(fields, epsilon=1e-5)
        rope = _stretched(common["ropes"][0])
        none = RopeSettings.none(common["head_dim"], common["max_position_embeddings"])
        bias = fields.flag("attention_bias")
        return cls(**{**common, "ropes": (rope, none)}, attention_bias=bias, output_bias=bias)


def _stretched(rope: RopeSettings) -> RopeSettings:
    """A scaling called dynamic that has an ``alpha`` is a larger theta, whatever the context."""
    alpha = (rope.scaling or {}).get("alpha")
    if rope.kind != "dynamic" or not alpha:
        return rope
    if not is_positive(alpha):
        raise CheckpointError(f"config.json: rope_scaling's alpha is {shown(alpha)}, not a positive number")
    theta = rope.theta * float(alpha) ** (rope.head_dim / (rope.head_dim - 2))
    return replace(rope, theta=theta, scaling=None)


class Hunyuan(Llama):
    """The model."""

    def attention(
        self, config: Any, w: WeightBuilder, layout: HeadLayout, prefix: str, scoring: Scoring, rope: int
    ) -> Attention:
        return NormedAttention(
            config,
            w,
            layout,
            prefix,
            names=("query_layernorm", "key_layernorm"),
            scoring=scoring,
            qkv_bias=config.attention_bias,
            out_bias=config.output_bias,
            rope=1,
            rope_before_norm=0,
        )
