"""ModernBERT (``ModernBertModel``, …): an encoder with RoPE, gated MLPs, and layers that see a window around."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tvm.relax.frontend import nn

from mlcweb.contract.constants import Pooling
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.ops import Array
from mlcweb.kernels.products.outputs import Activation
from mlcweb.models.parts.attention import Attention
from mlcweb.models.parts.decoder import DecoderConfig, Outline, Step
from mlcweb.models.parts.encoder import Encoder
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.mlp import GatedMLP
from mlcweb.models.parts.rope import RopeSettings
from mlcweb.models.parts.text_head import Dense, TextTask
from mlcweb.models.parts.weights import WeightBuilder

_GLOBAL_THETA, _LOCAL_THETA = 160_000.0, 10_000.0


@dataclass(frozen=True)
class ModernBertConfig(DecoderConfig):
    """ModernBERT's numbers; ``windows``: of each layer, None where it sees the whole text."""

    windows: tuple[int | None, ...]
    attention_bias: bool
    mlp_bias: bool
    has_norm_bias: bool
    pooling: Pooling
    classifier_bias: bool
    classifier_activation: Activation

    centered: ClassVar[bool] = True
    alike: ClassVar[bool] = False  # the first layer has a norm less

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> ModernBertConfig:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        fields.only("hidden_activation", "gelu")
        sizes = {**cls.sizes(fields), "tie_word_embeddings": True}
        every = fields.count("global_attn_every_n_layers", 3)
        sliding = fields.sliding_layers([i % every != 0 for i in range(sizes["num_hidden_layers"])])
        # a token sees as many on either side, itself not counted
        window = fields.count("local_attention", 128) // 2 + 1
        ropes = RopeSettings.of_two_kinds(
            config,
            sizes["head_dim"],
            sizes["max_position_embeddings"],
            theta=fields.number("global_rope_theta", _GLOBAL_THETA),
            local={"rope_theta": fields.number("local_rope_theta", _LOCAL_THETA)},
        )
        return cls(
            **sizes,
            norm_eps=fields.number("norm_eps", 1e-5),
            ropes=ropes,
            windows=tuple(window if slides else None for slides in sliding),
            attention_bias=fields.flag("attention_bias"),
            mlp_bias=fields.flag("mlp_bias"),
            has_norm_bias=fields.flag("norm_bias"),
            pooling=fields.only("classifier_pooling", "cls", "mean"),
            classifier_bias=fields.flag("classifier_bias"),
            classifier_activation=fields.only("classifier_activation", "gelu", "silu"),
        )

    @property
    def norm_biased(self) -> bool:
        return self.has_norm_bias


class ModernBert(Encoder):
    """The model."""

    @classmethod
    def scorer(cls, config: ModernBertConfig) -> TextTask:
        """What ``ModernBertForSequenceClassification`` makes of a pair of texts."""
        head = Dense(
            "head.dense",
            config.hidden_size,
            bias=config.classifier_bias,
            activation=config.classifier_activation,
            norm="head.norm",
            norm_bias=config.has_norm_bias,
            epsilon=config.norm_eps,
        )
        return TextTask("score", config.pooling, dense=(head,), scorer="classifier", scorer_bias=True)

    def unused(self) -> list[str]:
        return [*super().unused(), "head.*", "decoder.*", "classifier.*"]

    def make_outline(self, config: ModernBertConfig) -> Outline:
        return Outline(
            embed="model.embeddings.tok_embeddings.weight",
            embed_norm="model.embeddings.norm",
            norm="model.final_norm",
        )

    def layer(self, config: ModernBertConfig, w: WeightBuilder, layout: HeadLayout, index: int) -> nn.Module:
        prefix, window = f"model.layers.{index}", config.windows[index]
        attention = Attention(
            config,
            w,
            layout,
            f"{prefix}.attn",
            scoring=Scoring(config.head_dim**-0.5, window=window, ahead=True),
            qkv=("Wqkv",),
            out="Wo",
            qkv_bias=config.attention_bias,
            out_bias=config.attention_bias,
            rope=0 if window is None else 1,
        )
        mlp = GatedMLP(
            config, w, f"{prefix}.mlp", activation="gelu", names=("Wi",), down="Wo", bias=config.mlp_bias
        )
        return _Layer(config, w, prefix, attention, mlp, first=index == 0)


class _Layer(nn.Module):
    """Attention and MLP, each of a normalized input; the first layer's is the embedding, which has been."""

    def __init__(
        self,
        config: ModernBertConfig,
        w: WeightBuilder,
        prefix: str,
        attention: Attention,
        mlp: nn.Module,
        *,
        first: bool,
    ) -> None:
        hidden, bias = config.hidden_size, config.has_norm_bias
        self.self_attn, self.mlp, self.config = attention, mlp, config
        self.attn_norm = None
        if not first:
            self.attn_norm, self.attn_norm_bias = w.norm(f"{prefix}.attn_norm", hidden, bias=bias)
        self.mlp_norm, self.mlp_norm_bias = w.norm(f"{prefix}.mlp_norm", hidden, bias=bias)

    def forward(self, step: Step[Array], x_TD: Array) -> Array:
        norm = self.config.norm
        own = None if self.attn_norm is None else norm(self.attn_norm, self.attn_norm_bias)
        y_TD = self.self_attn(step, x_TD, own, x_TD)
        out_TD: Array = self.mlp(step, y_TD, norm(self.mlp_norm, self.mlp_norm_bias), y_TD)
        return out_TD
