"""GPT-NeoX: Pythia and RedPajama (``GPTNeoXForCausalLM``): LayerNorm, partial RoPE, biases, heads interleaved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from tvm.relax.frontend import nn
from tvm.relax.frontend.nn import Tensor

from mlcweb.kernels.cache import HeadLayout
from mlcweb.kernels.outputs import Activation
from mlcweb.kernels.scores import Scores
from mlcweb.models.attention import Attention
from mlcweb.models.decoder import Decoder, DecoderConfig, Outline, Step
from mlcweb.models.fields import Fields
from mlcweb.models.mlp import MLP
from mlcweb.models.rope import RopeSettings
from mlcweb.models.weights import Order, Weights


@dataclass(frozen=True)
class GPTNeoXConfig(DecoderConfig):
    """GPT-NeoX's numbers; ``parallel``: attention and MLP beside each other, each with its norm."""

    parallel: bool
    activation: Activation

    centered: ClassVar[bool] = True

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> GPTNeoXConfig:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        activation = fields.only("hidden_act", "gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh")
        fields.only("attention_bias", True)
        sizes = cls.sizes(fields)
        rope = RopeSettings.from_hf(
            config,
            sizes["head_dim"],
            sizes["max_position_embeddings"],
            theta=fields.number("rotary_emb_base", 10000.0),
            share=fields.number("rotary_pct", 0.25),
        )
        return cls(
            **sizes,
            norm_eps=fields.number("layer_norm_eps", 1e-5),
            ropes=(rope,),
            parallel=fields.flag("use_parallel_residual", True),
            activation="gelu" if activation == "gelu" else "gelu_tanh",
        )

    def fused_order(self) -> Order:
        """The fused tensor has query, key and value of a head together: its rows, by part first."""
        rows = np.arange(3 * self.query_width).reshape(self.num_attention_heads, 3, self.head_dim)
        order: Order = rows.swapaxes(0, 1).reshape(-1)
        return order


class GPTNeoXLayer(nn.Module):
    """Attention and MLP, each after its norm, beside each other or one after the other."""

    def __init__(self, config: GPTNeoXConfig, w: Weights, layout: HeadLayout, index: int) -> None:
        prefix, hidden = f"gpt_neox.layers.{index}", config.hidden_size
        self.input_layernorm = w.vector(f"{prefix}.input_layernorm.weight", hidden)
        self.input_layernorm_bias = w.vector(f"{prefix}.input_layernorm.bias", hidden)
        self.self_attn = Attention(
            config,
            w,
            layout,
            f"{prefix}.attention",
            scores=Scores(config.head_dim**-0.5),
            qkv=("query_key_value",),
            out="dense",
            qkv_bias=True,
            out_bias=True,
            fused_order=config.fused_order(),
        )
        name = f"{prefix}.post_attention_layernorm"
        self.post_attention_layernorm = w.vector(f"{name}.weight", hidden)
        self.post_attention_layernorm_bias = w.vector(f"{name}.bias", hidden)
        names = ("dense_h_to_4h", "dense_4h_to_h")
        self.mlp = MLP(config, w, f"{prefix}.mlp", names, config.activation)
        self.config = config

    def forward(self, step: Step, x_TD: Tensor) -> Tensor:
        norm = self.config.norm(self.input_layernorm, self.input_layernorm_bias)
        y_TD = self.self_attn(step, x_TD, norm, x_TD)
        norm = self.config.norm(self.post_attention_layernorm, self.post_attention_layernorm_bias)
        return self.mlp(step, x_TD if self.config.parallel else y_TD, norm, y_TD)


class GPTNeoX(Decoder):
    """The model."""

    prefix: ClassVar[str] = "gpt_neox."

    def make_outline(self, config: GPTNeoXConfig) -> Outline:
        norm = "gpt_neox.final_layer_norm"
        return Outline(
            embed="gpt_neox.embed_in.weight",
            norm=f"{norm}.weight",
            norm_bias=f"{norm}.bias",
            head="embed_out.weight",
        )

    def layer(self, config: GPTNeoXConfig, w: Weights, layout: HeadLayout, index: int) -> nn.Module:
        return GPTNeoXLayer(config, w, layout, index)
