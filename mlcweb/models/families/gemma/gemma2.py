"""Gemma 2 (``Gemma2ForCausalLM``): norms before and after each half, soft caps, a window in every other layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm.relax.frontend import nn

from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.ops import Array
from mlcweb.models.families.gemma.gemma import check_gemma
from mlcweb.models.parts.attention import Attention
from mlcweb.models.parts.decoder import Decoder, DecoderConfig, Outline, Step
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.mlp import GatedMLP
from mlcweb.models.parts.rope import RopeSettings
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True)
class Gemma2Config(DecoderConfig):
    """Gemma 2's numbers; ``scoring`` has a layer's scale, cap and window."""

    scoring: tuple[Scoring, ...]
    logit_cap: float | None

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> Gemma2Config:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        check_gemma(fields)
        sizes = cls.sizes(fields, tied=True)
        rope = RopeSettings.from_hf(config, sizes["head_dim"], sizes["max_position_embeddings"])
        return cls(
            **sizes,
            norm_eps=fields.number("rms_norm_eps", 1e-6),
            ropes=(rope,),
            scoring=gemma_scoring(fields, sizes["num_hidden_layers"], pattern=2),
            logit_cap=soft_cap(fields, "final_logit_softcapping"),
        )


def gemma_scoring(fields: Fields, layers: int, pattern: int) -> tuple[Scoring, ...]:
    """Each layer's scoring: the window is off in every ``pattern``-th layer, or as ``layer_types`` says."""
    scale = fields.number("query_pre_attn_scalar", 256) ** -0.5
    cap, window = soft_cap(fields, "attn_logit_softcapping"), fields.optional("sliding_window")
    sliding = fields.sliding_layers([(i + 1) % pattern != 0 for i in range(layers)])
    return tuple(Scoring(scale, cap, window if slides else None) for slides in sliding)


def soft_cap(fields: Fields, key: str) -> float | None:
    """A soft cap, None where config.json has none."""
    return None if fields.config.get(key) is None else fields.number(key)


class Gemma2Layer(nn.Module):
    """Norms of what goes into a half and of what comes out of it, before it is added."""

    def __init__(self, config: Any, w: WeightBuilder, prefix: str, attention: Attention) -> None:
        def norm(name: str) -> Any:
            return w.vector(f"{prefix}.{name}.weight", config.hidden_size, plus=1.0)

        self.input_layernorm = norm("input_layernorm")
        self.self_attn = attention
        self.post_attention_layernorm = norm("post_attention_layernorm")
        self.pre_feedforward_layernorm = norm("pre_feedforward_layernorm")
        self.mlp = GatedMLP(config, w, f"{prefix}.mlp", activation="gelu_tanh")
        self.post_feedforward_layernorm = norm("post_feedforward_layernorm")
        self.config = config

    def forward(self, step: Step[Array], x_TD: Array) -> Array:
        norm, ops = self.config.norm, step.ops
        y_TD = self.self_attn(step, x_TD, norm(self.input_layernorm), None)
        x_TD = ops.norm(y_TD, norm(self.post_attention_layernorm), residual=x_TD)
        y_TD = self.mlp(step, x_TD, norm(self.pre_feedforward_layernorm), None)
        return ops.norm(y_TD, norm(self.post_feedforward_layernorm), residual=x_TD)


class Gemma2(Decoder):
    """The model."""

    def make_outline(self, config: Gemma2Config) -> Outline:
        return Outline(norm_plus=1.0, scale=config.hidden_size**0.5, cap=config.logit_cap)

    def layer(self, config: Gemma2Config, w: WeightBuilder, layout: HeadLayout, index: int) -> nn.Module:
        prefix = f"model.layers.{index}"
        attention = self.attention(config, w, layout, f"{prefix}.self_attn", config.scoring[index])
        return Gemma2Layer(config, w, prefix, attention)

    def attention(
        self, config: Any, w: WeightBuilder, layout: HeadLayout, prefix: str, scoring: Scoring
    ) -> Attention:
        """A layer's first half."""
        return Attention(config, w, layout, prefix, scoring=scoring)
