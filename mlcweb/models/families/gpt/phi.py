"""Phi-1.5 and Phi-2 (``PhiForCausalLM``): one LayerNorm a layer, attention and MLP beside each other, partial RoPE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tvm.relax.frontend import nn

from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.models.parts.attention import Attention
from mlcweb.models.parts.decoder import Decoder, DecoderConfig, Outline
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.layer import OneNormLayer
from mlcweb.models.parts.mlp import MLP
from mlcweb.models.parts.rope import RopeSettings
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True)
class PhiConfig(DecoderConfig):
    """Phi's numbers."""

    centered: ClassVar[bool] = True

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> PhiConfig:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        fields.only("hidden_act", "gelu_new")
        fields.only("qk_layernorm", False)
        sizes = cls.sizes(fields)
        longest = sizes["max_position_embeddings"]
        rope = RopeSettings.from_hf(config, sizes["head_dim"], longest, rotary_fraction=0.5)
        return cls(**sizes, norm_eps=fields.number("layer_norm_eps", 1e-5), ropes=(rope,))


class Phi(Decoder):
    """The model."""

    def make_outline(self, config: PhiConfig) -> Outline:
        return Outline(norm="model.final_layernorm", head_bias="lm_head.bias")

    def layer(self, config: PhiConfig, w: WeightBuilder, layout: HeadLayout, index: int) -> nn.Module:
        prefix = f"model.layers.{index}"
        attention = Attention(
            config,
            w,
            layout,
            f"{prefix}.self_attn",
            scoring=Scoring(config.head_dim**-0.5),
            out="dense",
            qkv_bias=True,
            out_bias=True,
        )
        mlp = MLP(config, w, f"{prefix}.mlp", ("fc1", "fc2"), "gelu_tanh")
        return OneNormLayer(config, w, prefix, attention, mlp)
