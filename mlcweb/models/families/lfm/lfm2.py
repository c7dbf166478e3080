"""LFM2 and LFM2.5 (``Lfm2ForCausalLM``): most layers are gated short convolutions, the others attend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tvm.relax.frontend import nn

from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.ops import Array
from mlcweb.kernels.products.matvec import Norm
from mlcweb.kernels.recurrent.causal_conv import CausalConv
from mlcweb.models.parts.attention import NormedAttention
from mlcweb.models.parts.decoder import Decoder, DecoderConfig, Outline, Step
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.layer import Layer
from mlcweb.models.parts.mlp import GatedMLP
from mlcweb.models.parts.rope import RopeSettings
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True, kw_only=True)
class Lfm2Config(DecoderConfig):
    """LFM2's numbers; ``attends`` says which layers do, ``taps`` how many tokens a convolution sees."""

    alike: ClassVar[bool] = False

    attends: tuple[bool, ...]
    taps: int
    conv_bias: bool

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> Lfm2Config:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        config = {
            **config,
            "intermediate_size": config.get("block_ff_dim", config.get("intermediate_size", 12288)),
            "tie_word_embeddings": config.get("tie_embedding", config.get("tie_word_embeddings", True)),
        }
        fields = Fields(config)
        sizes = cls.sizes(fields, tied=True)
        sizes["intermediate_size"] = _adjusted(fields, sizes["intermediate_size"])
        rope = RopeSettings.from_hf(config, sizes["head_dim"], sizes["max_position_embeddings"], theta=1e6)
        return cls(
            **sizes,
            norm_eps=fields.number("norm_eps", 1e-5),
            ropes=(rope,),
            attends=_attends(fields, sizes["num_hidden_layers"]),
            taps=fields.count("conv_L_cache", 3),
            conv_bias=fields.flag("conv_bias"),
        )


def _adjusted(fields: Fields, inner: int) -> int:
    """The MLP's width: two thirds of what is written, times a factor, in multiples."""
    if not fields.flag("block_auto_adjust_ff_dim", True):
        return inner
    inner = int(2 * inner / 3)
    if fields.config.get("block_ffn_dim_multiplier", 1.0) is None:
        return inner
    inner = int(fields.number("block_ffn_dim_multiplier", 1.0) * inner)
    multiple = fields.count("block_multiple_of", 256)
    return -(-inner // multiple) * multiple


def _attends(fields: Fields, layers: int) -> tuple[bool, ...]:
    chosen = fields.config.get("full_attn_idxs")
    default = ["full_attention" if chosen is None or i in chosen else "conv" for i in range(layers)]
    return tuple(kind == "full_attention" for kind in fields.layer_types(default, "conv"))


class ShortConv(nn.Module):
    """``out(c * conv(b * v))``, where b, c and v are parts of one product."""

    def __init__(self, config: Lfm2Config, w: WeightBuilder, prefix: str) -> None:
        hidden, bias = config.hidden_size, config.conv_bias
        self.in_proj = w.matrix({f"{prefix}.in_proj.weight": 3 * hidden}, hidden)
        self.in_bias = w.row({f"{prefix}.in_proj.bias": (3 * hidden,)}) if bias else None
        self.taps = w.taps(f"{prefix}.conv.weight", hidden, config.taps)
        self.conv_bias = w.row({f"{prefix}.conv.bias": (hidden,)}) if bias else None
        self.out_proj = w.matrix({f"{prefix}.out_proj.weight": hidden}, hidden)
        self.out_bias = w.row({f"{prefix}.out_proj.bias": (hidden,)}) if bias else None
        self.recurrent_conv = nn.Parameter((config.taps - 1, hidden), dtype="float32")

    def forward(self, step: Step[Array], x_TD: Array, norm: Norm | None, residual: Array | None) -> Array:
        """``residual + conv(norm(x))``."""
        ops = step.ops
        gates_T3D = ops.linear("conv_in", x_TD, self.in_proj, norm=norm, bias=self.in_bias, rows=True)
        conv = CausalConv(self.taps, self.conv_bias, gated=True)
        y_TD = ops.causal_conv(gates_T3D, conv, self.recurrent_conv)
        return ops.linear("conv_out", y_TD, self.out_proj, bias=self.out_bias, residual=residual)


class Lfm2(Decoder):
    """The model."""

    def make_outline(self, config: Lfm2Config) -> Outline:
        return Outline(norm="model.embedding_norm")

    def layer(self, config: Lfm2Config, w: WeightBuilder, layout: HeadLayout, index: int) -> nn.Module:
        prefix = f"model.layers.{index}"
        first: nn.Module
        if config.attends[index]:
            scoring, names = Scoring(config.head_dim**-0.5), ("q_layernorm", "k_layernorm")
            first = NormedAttention(
                config, w, layout, f"{prefix}.self_attn", scoring=scoring, names=names, out="out_proj"
            )
        else:
            first = ShortConv(config, w, f"{prefix}.conv")
        mlp = GatedMLP(config, w, f"{prefix}.feed_forward", names=("w1", "w3"), down="w2")
        return Layer(config, w, prefix, first, mlp, norms=("operator_norm", "ffn_norm"))
