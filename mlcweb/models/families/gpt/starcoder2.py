"""StarCoder2 (``Starcoder2ForCausalLM``): LayerNorm, biases, grouped-query attention with a sliding window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tvm.relax.frontend import nn

from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.models.parts.attention import Attention
from mlcweb.models.parts.decoder import Decoder, DecoderConfig
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.layer import Layer
from mlcweb.models.parts.mlp import MLP
from mlcweb.models.parts.rope import RopeSettings
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True)
class Starcoder2Config(DecoderConfig):
    """StarCoder2's numbers; ``bias``: of all products but the head."""

    bias: bool
    window: int | None

    centered: ClassVar[bool] = True

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> Starcoder2Config:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        fields.only("hidden_act", "gelu_pytorch_tanh")
        sizes = cls.sizes(fields, tied=True)
        rope = RopeSettings.from_hf(config, sizes["head_dim"], sizes["max_position_embeddings"])
        return cls(
            **sizes,
            norm_eps=fields.number("norm_epsilon", 1e-5),
            ropes=(rope,),
            bias=fields.flag("use_bias", True),
            window=fields.optional("sliding_window"),
        )


class Starcoder2(Decoder):
    """The model."""

    def layer(self, config: Starcoder2Config, w: WeightBuilder, layout: HeadLayout, index: int) -> nn.Module:
        prefix, bias = f"model.layers.{index}", config.bias
        scoring = Scoring(config.head_dim**-0.5, window=config.window)
        attention = Attention(
            config, w, layout, f"{prefix}.self_attn", scoring=scoring, qkv_bias=bias, out_bias=bias
        )
        mlp = MLP(config, w, f"{prefix}.mlp", ("c_fc", "c_proj"), "gelu_tanh", bias=bias)
        return Layer(config, w, prefix, attention, mlp)
