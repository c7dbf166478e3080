"""Llama 2, 3, 3.1, 3.2, TinyLlama, SmolLM2 (``LlamaForCausalLM``): pre-norm, RoPE, grouped-query attention, SwiGLU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm.relax.frontend import nn
from tvm.relax.frontend.nn import Tensor

from mlcweb.kernels.cache import HeadLayout
from mlcweb.kernels.scores import Scores
from mlcweb.models.attention import Attention
from mlcweb.models.decoder import Decoder, DecoderConfig, Step
from mlcweb.models.fields import Fields
from mlcweb.models.mlp import GatedMLP
from mlcweb.models.rope import RopeSettings
from mlcweb.models.weights import Weights


@dataclass(frozen=True)
class LlamaConfig(DecoderConfig):
    """Llama's numbers; ``windows`` has a layer's sliding window, which only Llama's relatives have."""

    attention_bias: bool
    output_bias: bool
    mlp_bias: bool
    windows: tuple[int | None, ...]

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> LlamaConfig:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        fields.only("hidden_act", "silu")
        bias = fields.flag("attention_bias")
        return cls(
            **cls.common(fields), attention_bias=bias, output_bias=bias, mlp_bias=fields.flag("mlp_bias")
        )

    @classmethod
    def common(cls, fields: Fields, *, tied: bool = False) -> dict[str, Any]:
        """The keys that Llama's relatives share, without biases."""
        sizes = cls.sizes(fields, tied=tied)
        rope = RopeSettings.from_hf(fields.config, sizes["head_dim"], sizes["max_position_embeddings"])
        return {
            **sizes,
            "norm_eps": fields.number("rms_norm_eps"),
            "ropes": (rope,),
            "windows": (None,) * sizes["num_hidden_layers"],
        }


class LlamaLayer(nn.Module):
    """Attention and a gated MLP, each after a norm and onto the residual."""

    def __init__(
        self,
        config: LlamaConfig,
        w: Weights,
        layout: HeadLayout,
        index: int,
        attention: Attention | None = None,
    ) -> None:
        prefix = f"model.layers.{index}"
        self.input_layernorm = w.vector(f"{prefix}.input_layernorm.weight", config.hidden_size)
        self.self_attn = attention or Attention(
            config,
            w,
            layout,
            f"{prefix}.self_attn",
            scores=Scores(config.head_dim**-0.5, window=config.windows[index]),
            qkv_bias=config.attention_bias,
            out_bias=config.output_bias,
        )
        self.post_attention_layernorm = w.vector(
            f"{prefix}.post_attention_layernorm.weight", config.hidden_size
        )
        self.mlp = self.make_mlp(config, w, f"{prefix}.mlp")
        self.config = config

    def make_mlp(self, config: LlamaConfig, w: Weights, prefix: str) -> nn.Module:
        """The second half of the layer."""
        return GatedMLP(config, w, prefix, bias=config.mlp_bias)

    def forward(self, step: Step, x_TD: Tensor) -> Tensor:
        x_TD = self.self_attn(step, x_TD, self.config.norm(self.input_layernorm), x_TD)
        return self.mlp(step, x_TD, self.config.norm(self.post_attention_layernorm), x_TD)


class Llama(Decoder):
    """The model."""

    def layer(self, config: LlamaConfig, w: Weights, layout: HeadLayout, index: int) -> nn.Module:
        return LlamaLayer(config, w, layout, index)
