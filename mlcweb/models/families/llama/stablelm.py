"""StableLM-2 and StableLM Zephyr 3B (``StableLmForCausalLM``): LayerNorm, partial RoPE, gated MLP, optional biases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from tvm.relax.frontend import nn

from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.layouts.storage import Values
from mlcweb.kernels.norms.head_norm import HeadNorm
from mlcweb.models.parts.attention import Attention
from mlcweb.models.parts.decoder import Decoder, DecoderConfig
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.layer import Layer, OneNormLayer
from mlcweb.models.parts.mlp import GatedMLP
from mlcweb.models.parts.rope import RopeSettings
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True)
class StableLmConfig(DecoderConfig):
    """StableLM's numbers; 12B has norms of heads, and attention and MLP beside each other."""

    qkv_bias: bool
    head_norms: bool
    parallel: bool

    centered: ClassVar[bool] = True

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> StableLmConfig:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        fields.only("hidden_act", "silu")
        sizes = cls.sizes(fields)
        longest = sizes["max_position_embeddings"]
        rope = RopeSettings.from_hf(config, sizes["head_dim"], longest, rotary_fraction=0.25)
        return cls(
            **sizes,
            norm_eps=fields.number("layer_norm_eps", 1e-5),
            ropes=(rope,),
            qkv_bias=fields.flag("use_qkv_bias"),
            head_norms=fields.flag("qk_layernorm"),
            parallel=fields.flag("use_parallel_residual"),
        )


class StableLmAttention(Attention):
    """With a LayerNorm of its own for each query and key head, where the config says so."""

    def __init__(self, config: StableLmConfig, w: WeightBuilder, layout: HeadLayout, prefix: str) -> None:
        scoring = Scoring(config.head_dim**-0.5)
        super().__init__(config, w, layout, prefix, scoring=scoring, qkv_bias=config.qkv_bias)
        self.config = config
        if config.head_norms:
            self.q_norm = self._norms(w, f"{prefix}.q_layernorm", config.num_attention_heads)
            self.k_norm = self._norms(w, f"{prefix}.k_layernorm", config.num_key_value_heads)

    def _norms(self, w: WeightBuilder, prefix: str, heads: int) -> Values:
        size = self.config.head_dim
        order = self.config.ropes[0].head_order() + np.arange(heads)[:, None] * size
        sources = {f"{prefix}.norms.{head}.weight": (size,) for head in range(heads)}
        return w.row(sources, order=order.reshape(-1))

    def head_norm(self) -> HeadNorm | None:
        if not self.config.head_norms:
            return None
        return HeadNorm(self.q_norm, self.k_norm, self.config.norm_eps, "layer")


class StableLm(Decoder):
    """The model."""

    def layer(self, config: StableLmConfig, w: WeightBuilder, layout: HeadLayout, index: int) -> nn.Module:
        prefix = f"model.layers.{index}"
        attention = StableLmAttention(config, w, layout, f"{prefix}.self_attn")
        mlp = GatedMLP(config, w, f"{prefix}.mlp")
        kind = OneNormLayer if config.parallel else Layer
        return kind(config, w, prefix, attention, mlp)
