"""GPT-2 (``GPT2LMHeadModel``): LayerNorm, learned positions, biases, matrices stored transposed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tvm.relax.frontend import nn

from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.products.outputs import Activation
from mlcweb.models.parts.attention import Attention
from mlcweb.models.parts.decoder import Decoder, DecoderConfig, Outline, check_sizes
from mlcweb.models.parts.fields import Fields, multiple_of
from mlcweb.models.parts.layer import Layer
from mlcweb.models.parts.mlp import MLP, gelu_of
from mlcweb.models.parts.rope import RopeSettings
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True)
class GPT2Config(DecoderConfig):
    """GPT-2's numbers."""

    activation: Activation

    centered: ClassVar[bool] = True
    learned_positions: ClassVar[bool] = True

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> GPT2Config:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        for key, value in (
            ("scale_attn_weights", True),
            ("scale_attn_by_inverse_layer_idx", False),
            ("add_cross_attention", False),
        ):
            fields.only(key, value)
        hidden, heads = fields.count("n_embd"), fields.count("n_head")
        multiple_of("n_embd", hidden, heads)
        sizes: dict[str, Any] = {
            "vocab_size": fields.count("vocab_size"),
            "hidden_size": hidden,
            "intermediate_size": fields.count("n_inner", 4 * hidden),
            "num_hidden_layers": fields.count("n_layer"),
            "num_attention_heads": heads,
            "num_key_value_heads": heads,
            "head_dim": hidden // heads,
            "max_position_embeddings": fields.count("n_positions", config.get("n_ctx")),
            "tie_word_embeddings": fields.flag("tie_word_embeddings", True),
        }
        check_sizes(sizes)
        return cls(
            **sizes,
            norm_eps=fields.number("layer_norm_epsilon", 1e-5),
            ropes=(RopeSettings.none(sizes["head_dim"]),),
            activation=gelu_of(fields.only("activation_function", "gelu_new", "gelu_pytorch_tanh", "gelu")),
        )


class GPT2(Decoder):
    """The model."""

    prefix: ClassVar[str] = "transformer."

    def make_outline(self, config: GPT2Config) -> Outline:
        return Outline(
            embed="transformer.wte.weight",
            positions="transformer.wpe.weight",
            norm="transformer.ln_f",
        )

    def layer(self, config: GPT2Config, w: WeightBuilder, layout: HeadLayout, index: int) -> nn.Module:
        prefix = f"transformer.h.{index}"
        attention = Attention(
            config,
            w,
            layout,
            f"{prefix}.attn",
            scoring=Scoring(config.head_dim**-0.5),
            qkv=("c_attn",),
            out="c_proj",
            qkv_bias=True,
            out_bias=True,
            transposed=True,
        )
        mlp = MLP(config, w, f"{prefix}.mlp", ("c_fc", "c_proj"), config.activation, transposed=True)
        return Layer(config, w, prefix, attention, mlp, norms=("ln_1", "ln_2"))
