"""Gemma 1 (``GemmaForCausalLM``): Llama with GELU for SiLU, scaled embeddings, and norms that multiply by 1 + w."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm.relax.frontend import nn

from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.models.parts.attention import Attention
from mlcweb.models.parts.decoder import Decoder, DecoderConfig, Outline
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.layer import Layer
from mlcweb.models.parts.mlp import GatedMLP
from mlcweb.models.parts.rope import RopeSettings
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True)
class GemmaConfig(DecoderConfig):
    """Gemma's numbers."""

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> GemmaConfig:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        check_gemma(fields)
        sizes = cls.sizes(fields, tied=True)
        rope = RopeSettings.from_hf(config, sizes["head_dim"], sizes["max_position_embeddings"])
        return cls(**sizes, norm_eps=fields.number("rms_norm_eps", 1e-6), ropes=(rope,))


def check_gemma(fields: Fields) -> None:
    """Raise UnsupportedError for another activation or biases.

    The first configs say ``gelu`` and mean its approximation, which ``hidden_activation`` came to say.
    """
    key = "hidden_activation" if fields.config.get("hidden_activation") else "hidden_act"
    fields.only(key, "gelu_pytorch_tanh", "gelu")
    fields.only("attention_bias", False)


class Gemma(Decoder):
    """The model."""

    def make_outline(self, config: GemmaConfig) -> Outline:
        return Outline(norm_plus=1.0, scale=config.hidden_size**0.5)

    def layer(self, config: GemmaConfig, w: WeightBuilder, layout: HeadLayout, index: int) -> nn.Module:
        prefix, scoring = f"model.layers.{index}", Scoring(config.head_dim**-0.5)
        attention = Attention(config, w, layout, f"{prefix}.self_attn", scoring=scoring)
        mlp = GatedMLP(config, w, f"{prefix}.mlp", activation="gelu_tanh")
        return Layer(config, w, prefix, attention, mlp, plus=1.0)
