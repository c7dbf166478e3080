"""Llama 2, 3, 3.1, 3.2, TinyLlama, SmolLM2 (``LlamaForCausalLM``): pre-norm, RoPE, grouped-query attention, SwiGLU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tvm.relax.frontend import nn

from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.models.parts.attention import Attention, NormedAttention
from mlcweb.models.parts.decoder import Decoder, DecoderConfig
from mlcweb.models.parts.fields import REQUIRED, Fields
from mlcweb.models.parts.layer import Layer
from mlcweb.models.parts.mlp import GatedMLP
from mlcweb.models.parts.rope import RopeSettings
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True, kw_only=True)
class LlamaConfig(DecoderConfig):
    """Llama's numbers. Only its relatives have a layer's sliding window in ``windows``, and more than one RoPE, of
    which ``layer_ropes`` says a layer's.
    """

    windows: tuple[int | None, ...]
    layer_ropes: tuple[int, ...] = ()
    attention_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> LlamaConfig:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        bias, mlp_bias = fields.flag("attention_bias"), fields.flag("mlp_bias")
        return cls(**cls.common(fields), attention_bias=bias, output_bias=bias, mlp_bias=mlp_bias)

    @classmethod
    def common(
        cls,
        fields: Fields,
        windows: tuple[int | None, ...] = (),
        *,
        tied: bool = False,
        epsilon: float = REQUIRED,
        theta: float = 10000.0,
    ) -> dict[str, Any]:
        """The keys that Llama's relatives share, without biases; ``tied``, ``epsilon`` and ``theta`` (RoPE's) are
        what a missing key means.
        """
        fields.only("hidden_act", "silu")
        sizes = cls.sizes(fields, tied=tied)
        longest = sizes["max_position_embeddings"]
        rope = RopeSettings.from_hf(fields.config, sizes["head_dim"], longest, theta=theta)
        return {
            **sizes,
            "norm_eps": fields.number("rms_norm_eps", epsilon),
            "ropes": (rope,),
            "windows": windows or (None,) * sizes["num_hidden_layers"],
        }


class Llama(Decoder):
    """The model; its relatives replace a layer's attention or MLP. ``head_norms``: of queries and keys."""

    head_norms: ClassVar[Literal["rms", "full_rms"] | None] = None

    def layer(self, config: LlamaConfig, w: WeightBuilder, layout: HeadLayout, index: int) -> nn.Module:
        prefix = f"model.layers.{index}"
        scoring = Scoring(config.head_dim**-0.5, window=config.windows[index])
        rope = config.layer_ropes[index] if config.layer_ropes else 0
        attention = self.attention(config, w, layout, f"{prefix}.self_attn", scoring, rope)
        return self.assemble(config, w, prefix, attention, self.mlp(config, w, prefix))

    def assemble(
        self, config: Any, w: WeightBuilder, prefix: str, attention: Attention, mlp: nn.Module
    ) -> nn.Module:
        """A layer of its halves."""
        return Layer(config, w, prefix, attention, mlp)

    def attention(
        self, config: Any, w: WeightBuilder, layout: HeadLayout, prefix: str, scoring: Scoring, rope: int
    ) -> Attention:
        """A layer's first half."""
        bias, out_bias = config.attention_bias, config.output_bias
        options: dict[str, Any] = {"scoring": scoring, "qkv_bias": bias, "out_bias": out_bias, "rope": rope}
        if self.head_norms is not None:
            return NormedAttention(config, w, layout, prefix, kind=self.head_norms, **options)
        return Attention(config, w, layout, prefix, **options)

    def mlp(self, config: Any, w: WeightBuilder, prefix: str) -> nn.Module:
        """A layer's second half; ``prefix`` is the layer's."""
        return GatedMLP(config, w, f"{prefix}.mlp", bias=config.mlp_bias)
