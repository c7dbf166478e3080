"""LFM3 (``Lfm3ForCausalLM``): LFM2 with windows, a gate for each head, and norms after each half too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm.relax.frontend import nn

from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.ops import Array
from mlcweb.models.families.lfm.lfm2 import Lfm2Config, ShortConv
from mlcweb.models.parts.attention import NormedAttention
from mlcweb.models.parts.decoder import Decoder, Outline, Step
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.layer import Layer
from mlcweb.models.parts.mlp import GatedMLP
from mlcweb.models.parts.rope import RopeSettings
from mlcweb.models.parts.weights import WeightBuilder

_FULL, _SLIDING, _CONV = "full_attention", "sliding_attention", "conv"
_ROPES = {
    _SLIDING: {"rope_type": "default", "rope_theta": 10_000.0},
    _FULL: {"rope_type": "proportional", "rope_theta": 1_000_000.0, "partial_rotary_factor": 0.5},
}


@dataclass(frozen=True, kw_only=True)
class Lfm3Config(Lfm2Config):
    """LFM3's numbers. ``windows``: of each layer, None where it sees all tokens before. ``gated``: heads have gates.
    ``sandwich``: the outputs of each half are normalized before they are added.
    """

    windows: tuple[int | None, ...]
    attention_bias: bool
    gated: bool
    sandwich: bool

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> Lfm3Config:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        config = {"head_dim": 128, **config, "rope_parameters": config.get("rope_parameters") or _ROPES}
        fields = Fields(config)
        sizes = cls.sizes(fields, tied=True)
        kinds = fields.layer_types(
            [
                _FULL if i % 4 == 2 else _SLIDING if i % 4 == 0 and i > 0 else _CONV
                for i in range(sizes["num_hidden_layers"])
            ],
            _SLIDING,
            _CONV,
        )
        window = fields.optional("sliding_window") if "sliding_window" in config else 256
        return cls(
            **sizes,
            norm_eps=fields.number("norm_eps", 1e-5),
            ropes=RopeSettings.of_two_kinds(
                config, sizes["head_dim"], sizes["max_position_embeddings"], theta=1e6
            ),
            attends=tuple(kind != _CONV for kind in kinds),
            windows=tuple(window if kind == _SLIDING else None for kind in kinds),
            taps=fields.count("conv_L_cache", 7),
            conv_bias=fields.flag("conv_bias"),
            attention_bias=fields.flag("attention_bias"),
            gated=fields.flag("use_attention_gate", True),
            sandwich=fields.flag("use_sandwich_norm", True),
        )


class Lfm3(Decoder):
    """The model."""

    def make_outline(self, config: Lfm3Config) -> Outline:
        return Outline(norm="model.embedding_norm")

    def layer(self, config: Lfm3Config, w: WeightBuilder, layout: HeadLayout, index: int) -> nn.Module:
        prefix, window, bias = f"model.layers.{index}", config.windows[index], config.attention_bias
        first: nn.Module
        if config.attends[index]:
            first = NormedAttention(
                config,
                w,
                layout,
                f"{prefix}.self_attn",
                scoring=Scoring(config.head_dim**-0.5, window=window),
                rope=0 if window is None else 1,
                qkv_bias=bias,
                out_bias=bias,
                head_gate="gate_proj" if config.gated else None,
            )
        else:
            first = ShortConv(config, w, f"{prefix}.conv")
        mlp = GatedMLP(config, w, f"{prefix}.feed_forward", names=("w1", "w3"), down="w2")
        if not config.sandwich:
            return Layer(config, w, prefix, first, mlp, norms=("operator_norm", "ffn_norm"))
        return _SandwichLayer(config, w, prefix, first, mlp)


class _SandwichLayer(nn.Module):
    """Each half takes a normalized input, and its outputs are normalized before they are added."""

    def __init__(
        self, config: Lfm3Config, w: WeightBuilder, prefix: str, first: nn.Module, mlp: nn.Module
    ) -> None:
        def norm(name: str) -> Any:
            return w.vector(f"{prefix}.{name}.weight", config.hidden_size)

        self.operator_norm, self.post_operator_norm = norm("operator_norm"), norm("post_operator_norm")
        self.ffn_norm, self.post_ffn_norm = norm("ffn_norm"), norm("post_ffn_norm")
        self.first, self.mlp, self.config = first, mlp, config

    def forward(self, step: Step[Array], x_TD: Array) -> Array:
        norm, ops = self.config.norm, step.ops
        y_TD = self.first(step, x_TD, norm(self.operator_norm), None)
        x_TD = ops.norm(y_TD, norm(self.post_operator_norm), residual=x_TD)
        y_TD = self.mlp(step, x_TD, norm(self.ffn_norm), None)
        return ops.norm(y_TD, norm(self.post_ffn_norm), residual=x_TD)
