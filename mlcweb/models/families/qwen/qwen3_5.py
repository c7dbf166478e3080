"""Qwen3.5's text models (``Qwen3_5ForCausalLM``): three of four layers are gated DeltaNets, the others attend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tvm.relax.frontend import nn

from mlcweb.errors import CheckpointError
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.ops import Array
from mlcweb.kernels.products.matvec import Norm
from mlcweb.kernels.recurrent.causal_conv import CausalConv
from mlcweb.kernels.recurrent.gated_delta import GatedDelta
from mlcweb.models.parts.attention import NormedAttention
from mlcweb.models.parts.decoder import Decoder, DecoderConfig, Outline, Step
from mlcweb.models.parts.fields import Fields, multiple_of
from mlcweb.models.parts.layer import Layer
from mlcweb.models.parts.mlp import GatedMLP
from mlcweb.models.parts.rope import RopeSettings
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True, kw_only=True)
class Qwen35Config(DecoderConfig):
    """Qwen3.5's numbers; ``attends`` says which layers do; the others have ``delta_heads``."""

    alike: ClassVar[bool] = False

    attends: tuple[bool, ...]
    taps: int
    delta_heads: int
    delta_key_heads: int
    delta_key_width: int
    delta_value_width: int

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> Qwen35Config:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        fields.only("hidden_act", "silu")
        fields.only("attention_bias", False)
        sizes = cls.sizes(Fields({"head_dim": 256, **config}))
        rope = RopeSettings.from_hf(
            config, sizes["head_dim"], sizes["max_position_embeddings"], rotary_fraction=0.25
        )
        heads, key_heads = (
            fields.count("linear_num_value_heads", 32),
            fields.count("linear_num_key_heads", 16),
        )
        if heads % key_heads:
            raise CheckpointError(
                f"config.json: {heads} heads of values do not divide into {key_heads} of keys"
            )
        widths = [fields.count(f"linear_{kind}_head_dim", 128) for kind in ("key", "value")]
        for kind, width in zip(("key", "value"), widths, strict=True):
            multiple_of(f"linear_{kind}_head_dim", width, 16)
        return cls(
            **sizes,
            norm_eps=fields.number("rms_norm_eps", 1e-6),
            ropes=(rope,),
            attends=_attends(fields, sizes["num_hidden_layers"]),
            taps=fields.count("linear_conv_kernel_dim", 4),
            delta_heads=heads,
            delta_key_heads=key_heads,
            delta_key_width=widths[0],
            delta_value_width=widths[1],
        )


def _attends(fields: Fields, layers: int) -> tuple[bool, ...]:
    interval = fields.count("full_attention_interval", 4)
    default = ["linear_attention" if (i + 1) % interval else "full_attention" for i in range(layers)]
    return tuple(kind == "full_attention" for kind in fields.layer_types(default, "linear_attention"))


class GatedDeltaNet(nn.Module):
    """A convolution of queries, keys and values, the gated delta rule, and a gate after each head's norm."""

    def __init__(self, config: Qwen35Config, w: WeightBuilder, prefix: str) -> None:
        hidden, heads = config.hidden_size, config.delta_heads
        values = heads * config.delta_value_width
        self.rate = w.row({f"{prefix}.A_log": (heads,)})
        self.shift = w.row({f"{prefix}.dt_bias": (heads,)})
        self.delta = GatedDelta(
            heads,
            config.delta_key_heads,
            config.delta_key_width,
            config.delta_value_width,
            self.rate,
            self.shift,
        )
        width = self.delta.width
        self.qkv_proj = w.matrix({f"{prefix}.in_proj_qkv.weight": width}, hidden)
        self.ba_proj = w.matrix(
            {f"{prefix}.in_proj_{name}.weight": heads for name in "ba"}, hidden, quantized=False
        )
        self.z_proj = w.matrix({f"{prefix}.in_proj_z.weight": values}, hidden)
        self.taps = w.taps(f"{prefix}.conv1d.weight", width, config.taps)
        self.head_norm = w.row({f"{prefix}.norm.weight": (config.delta_value_width,)})
        self.out_proj = w.matrix({f"{prefix}.out_proj.weight": hidden}, values)
        self.recurrent_conv = nn.Parameter((config.taps - 1, width), dtype="float32")
        self.recurrent_delta = nn.Parameter(self.delta.state_shape, dtype="float32")
        self.epsilon = config.norm_eps

    def forward(self, step: Step[Array], x_TD: Array, norm: Norm | None, residual: Array | None) -> Array:
        """``residual + delta(norm(x))``."""
        ops = step.ops
        qkv_TQ = ops.linear("delta_qkv", x_TD, self.qkv_proj, norm=norm, rows=True)
        qkv_TQ = ops.causal_conv(qkv_TQ, CausalConv(self.taps, activation="silu"), self.recurrent_conv)
        ba_T2H = ops.linear("delta_ba", x_TD, self.ba_proj, norm=norm, rows=True)
        heads_TA = ops.gated_delta(qkv_TQ, ba_T2H, self.delta, self.recurrent_delta)
        heads_TA = ops.norm_spans(heads_TA, self.head_norm, self.epsilon)
        heads_TA = ops.linear("gate", x_TD, self.z_proj, norm=norm, activation="silu", times=heads_TA)
        return ops.linear("delta_out", heads_TA, self.out_proj, residual=residual)


class Qwen35(Decoder):
    """The model."""

    def make_outline(self, config: Qwen35Config) -> Outline:
        return Outline(norm_plus=1.0)

    def layer(self, config: Qwen35Config, w: WeightBuilder, layout: HeadLayout, index: int) -> nn.Module:
        prefix = f"model.layers.{index}"
        first: nn.Module
        if config.attends[index]:
            scoring = Scoring(config.head_dim**-0.5)
            first = NormedAttention(
                config, w, layout, f"{prefix}.self_attn", scoring=scoring, plus=1.0, gated=True
            )
        else:
            first = GatedDeltaNet(config, w, f"{prefix}.linear_attn")
        return Layer(config, w, prefix, first, GatedMLP(config, w, f"{prefix}.mlp"), plus=1.0)
