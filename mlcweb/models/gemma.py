"""Gemma 1 (``GemmaForCausalLM``): Llama with GELU for SiLU, scaled embeddings, and norms that multiply by 1 + w."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm.relax.frontend import nn
from tvm.relax.frontend.nn import Tensor

from mlcweb.kernels.cache import HeadLayout
from mlcweb.kernels.scores import Scores
from mlcweb.models.attention import Attention
from mlcweb.models.decoder import Decoder, DecoderConfig, Outline, Step
from mlcweb.models.fields import Fields
from mlcweb.models.mlp import GatedMLP
from mlcweb.models.rope import RopeSettings
from mlcweb.models.weights import Weights


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


class GemmaLayer(nn.Module):
    """Attention and a gated MLP, each after a norm and onto the residual."""

    def __init__(self, config: GemmaConfig, w: Weights, layout: HeadLayout, index: int) -> None:
        prefix, hidden = f"model.layers.{index}", config.hidden_size
        self.input_layernorm = w.vector(f"{prefix}.input_layernorm.weight", hidden, plus=1.0)
        self.self_attn = Attention(
            config, w, layout, f"{prefix}.self_attn", scores=Scores(config.head_dim**-0.5)
        )
        name = f"{prefix}.post_attention_layernorm.weight"
        self.post_attention_layernorm = w.vector(name, hidden, plus=1.0)
        self.mlp = GatedMLP(config, w, f"{prefix}.mlp", activation="gelu_tanh")
        self.config = config

    def forward(self, step: Step, x_TD: Tensor) -> Tensor:
        x_TD = self.self_attn(step, x_TD, self.config.norm(self.input_layernorm), x_TD)
        return self.mlp(step, x_TD, self.config.norm(self.post_attention_layernorm), x_TD)


class Gemma(Decoder):
    """The model."""

    def make_outline(self, config: GemmaConfig) -> Outline:
        return Outline(norm_plus=1.0, scale=config.hidden_size**0.5)

    def layer(self, config: GemmaConfig, w: Weights, layout: HeadLayout, index: int) -> nn.Module:
        return GemmaLayer(config, w, layout, index)
