"""BERT (``BertModel``, ``BertForSequenceClassification``): every token sees the whole text; norms come after sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tvm.relax.frontend import nn

from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.ops import Array
from mlcweb.kernels.products.outputs import Activation
from mlcweb.models.parts.attention import Attention
from mlcweb.models.parts.decoder import DecoderConfig, Outline, Step
from mlcweb.models.parts.encoder import Encoder
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.mlp import MLP, gelu_of
from mlcweb.models.parts.rope import RopeSettings
from mlcweb.models.parts.text_head import Dense, TextTask
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True)
class BertConfig(DecoderConfig):
    """BERT's numbers."""

    type_vocab_size: int
    activation: Activation

    centered: ClassVar[bool] = True
    learned_positions: ClassVar[bool] = True

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> BertConfig:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        for key, value in (
            ("position_embedding_type", "absolute"),
            ("is_decoder", False),
            ("add_cross_attention", False),
        ):
            fields.only(key, value)
        sizes = {**cls.sizes(fields), "tie_word_embeddings": True}
        return cls(
            **sizes,
            norm_eps=fields.number("layer_norm_eps", 1e-12),
            ropes=(RopeSettings.none(sizes["head_dim"]),),
            type_vocab_size=fields.count("type_vocab_size", 2),
            activation=gelu_of(fields.only("hidden_act", "gelu", "gelu_new", "gelu_pytorch_tanh")),
        )


class Bert(Encoder):
    """The model."""

    prefix: ClassVar[str] = "bert."

    @classmethod
    def scorer(cls, config: BertConfig) -> TextTask:
        """What ``BertForSequenceClassification`` makes of a pair of texts."""
        pooler = Dense("bert.pooler.dense", config.hidden_size, bias=True, activation="tanh")
        return TextTask("score", "cls", dense=(pooler,), scorer="classifier", scorer_bias=True)

    def unused(self) -> list[str]:
        return [*super().unused(), "bert.pooler.*", "cls.*"]

    def make_outline(self, config: BertConfig) -> Outline:
        prefix = "bert.embeddings"
        return Outline(
            embed=f"{prefix}.word_embeddings.weight",
            positions=f"{prefix}.position_embeddings.weight",
            kinds=f"{prefix}.token_type_embeddings.weight",
            embed_norm=f"{prefix}.LayerNorm",
            norm=None,
        )

    def layer(self, config: BertConfig, w: WeightBuilder, layout: HeadLayout, index: int) -> nn.Module:
        prefix = f"bert.encoder.layer.{index}"
        attention = Attention(
            config,
            w,
            layout,
            f"{prefix}.attention",
            scoring=Scoring(config.head_dim**-0.5, ahead=True),
            qkv=("self.query", "self.key", "self.value"),
            out="output.dense",
            qkv_bias=True,
            out_bias=True,
        )
        mlp = MLP(config, w, prefix, ("intermediate.dense", "output.dense"), config.activation)
        return _Layer(config, w, prefix, attention, mlp)


class _Layer(nn.Module):
    """Attention, then MLP; the sum of each with its input is normalized."""

    def __init__(
        self, config: BertConfig, w: WeightBuilder, prefix: str, attention: Attention, mlp: nn.Module
    ) -> None:
        hidden = config.hidden_size
        self.self_attn, self.mlp, self.config = attention, mlp, config
        self.attention_norm, self.attention_norm_bias = w.norm(
            f"{prefix}.attention.output.LayerNorm", hidden, bias=True
        )
        self.output_norm, self.output_norm_bias = w.norm(f"{prefix}.output.LayerNorm", hidden, bias=True)

    def forward(self, step: Step[Array], x_TD: Array) -> Array:
        norm, ops = self.config.norm, step.ops
        y_TD = ops.norm(
            self.self_attn(step, x_TD, None, x_TD), norm(self.attention_norm, self.attention_norm_bias)
        )
        return ops.norm(self.mlp(step, y_TD, None, y_TD), norm(self.output_norm, self.output_norm_bias))
