"""GPT-NeoX: Pythia and RedPajama (``GPTNeoXForCausalLM``): LayerNorm, partial RoPE, biases, heads interleaved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from tvm.relax.frontend import nn

from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.products.outputs import Activation
from mlcweb.models.parts.attention import Attention
from mlcweb.models.parts.decoder import Decoder, DecoderConfig, Outline
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.layer import Layer
from mlcweb.models.parts.mlp import MLP, gelu_of
from mlcweb.models.parts.rope import RopeSettings
from mlcweb.models.parts.weights import Order, WeightBuilder


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
            rotary_fraction=fields.number("rotary_pct", 0.25),
        )
        return cls(
            **sizes,
            norm_eps=fields.number("layer_norm_eps", 1e-5),
            ropes=(rope,),
            parallel=fields.flag("use_parallel_residual", True),
            activation=gelu_of(activation),
        )

    def fused_order(self) -> Order:
        """The fused tensor has query, key and value of a head together: its rows, by part first."""
        rows = np.arange(3 * self.query_width).reshape(self.num_attention_heads, 3, self.head_dim)
        order: Order = rows.swapaxes(0, 1).reshape(-1)
        return order


class GPTNeoX(Decoder):
    """The model."""

    prefix: ClassVar[str] = "gpt_neox."

    def make_outline(self, config: GPTNeoXConfig) -> Outline:
        return Outline(
            embed="gpt_neox.embed_in.weight",
            norm="gpt_neox.final_layer_norm",
            head="embed_out.weight",
        )

    def layer(self, config: GPTNeoXConfig, w: WeightBuilder, layout: HeadLayout, index: int) -> nn.Module:
        prefix = f"gpt_neox.layers.{index}"
        attention = Attention(
            config,
            w,
            layout,
            f"{prefix}.attention",
            scoring=Scoring(config.head_dim**-0.5),
            qkv=("query_key_value",),
            out="dense",
            qkv_bias=True,
            out_bias=True,
            fused_order=config.fused_order(),
        )
        mlp = MLP(config, w, f"{prefix}.mlp", ("dense_h_to_4h", "dense_4h_to_h"), config.activation)
        return Layer(config, w, prefix, attention, mlp, parallel=config.parallel)
