"""Gemma 4's text models (``Gemma4ForCausalLM``) without experts: Gemma 3 with embeddings for each layer.

Layers that see everything have larger heads than those with a window. The last layers have queries alone, and read
the keys and values of the last layer of their kind that has its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from tvm.relax.frontend import nn

from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.ops import Array, Operations
from mlcweb.models.families.gemma.gemma2 import soft_cap
from mlcweb.models.parts.attention import NormedAttention
from mlcweb.models.parts.decoder import Decoder, DecoderConfig, Outline, Step
from mlcweb.models.parts.fields import Fields, multiple_of
from mlcweb.models.parts.mlp import GatedMLP
from mlcweb.models.parts.rope import RopeSettings
from mlcweb.models.parts.text_head import TextTask
from mlcweb.models.parts.weights import WeightBuilder
from mlcweb.quantize import Scheme

_DEFAULTS = {"head_dim": 256, "max_position_embeddings": 131072, "num_key_value_heads": 4}
_ROPES = {
    "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6},
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
}


@dataclass(frozen=True, kw_only=True)
class Gemma4Config(DecoderConfig):
    """Gemma 4's numbers; its ropes are that of layers that see everything, and that of those with a window.

    ``source`` has, for each layer, the one whose KV cache it reads: itself, or one before. ``per_layer`` is the width
    of a layer's own embedding, 0 for none. ``wide``: MLPs of layers that read another's are twice as wide.
    """

    alike: ClassVar[bool] = False

    sliding: tuple[bool, ...]
    window: int
    global_head_dim: int
    source: tuple[int, ...]
    per_layer: int
    per_layer_rows: int
    wide: bool
    cap: float | None

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> Gemma4Config:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        fields.only("hidden_activation", "gelu_pytorch_tanh")
        for key in ("attention_bias", "enable_moe_block", "attention_k_eq_v"):
            fields.only(key, False)
        fields.only("use_bidirectional_attention", None, "vision")  # of pictures' tokens, which text has not
        sizes = cls.sizes(Fields({**_DEFAULTS, **config}), tied=True)
        layers, longest = sizes["num_hidden_layers"], sizes["max_position_embeddings"]
        global_head_dim = fields.count("global_head_dim", 512)
        multiple_of("global_head_dim", global_head_dim, 16)
        sliding = (*fields.sliding_layers([(i + 1) % 6 != 0 for i in range(layers)])[:-1], False)
        per_layer = fields.count_or_0("hidden_size_per_layer_input", 256)
        multiple_of("hidden_size_per_layer_input", per_layer, 4)
        return cls(
            **sizes,
            norm_eps=fields.number("rms_norm_eps", 1e-6),
            ropes=(
                _rope(config, "full_attention", global_head_dim, longest),
                _rope(config, "sliding_attention", sizes["head_dim"], longest),
            ),
            sliding=sliding,
            window=fields.count("sliding_window", 512),
            global_head_dim=global_head_dim,
            source=_sources(fields, sliding),
            per_layer=per_layer,
            per_layer_rows=_per_layer_rows(fields, sizes["vocab_size"]) if per_layer else 0,
            wide=fields.flag("use_double_wide_mlp"),
            cap=soft_cap(fields, "final_logit_softcapping"),
        )


def _rope(config: dict[str, Any], kind: str, head_dim: int, longest: int) -> RopeSettings:
    known = _ROPES if config.get("rope_parameters") is None else config["rope_parameters"]
    if not isinstance(known, dict) or not isinstance(known.get(kind), dict):
        raise CheckpointError(f"config.json: rope_parameters has no object for {kind}")
    return RopeSettings.from_hf(config, head_dim, longest, parameters=known[kind])


def _sources(fields: Fields, sliding: tuple[bool, ...]) -> tuple[int, ...]:
    """For each layer the one whose keys and values it reads. Raises CheckpointError where there is none."""
    shared = fields.count_or_0("num_kv_shared_layers", 0)
    own = max(len(sliding) - shared, 0)
    last = {slides: i for i, slides in enumerate(sliding[:own])}
    if not set(sliding) <= set(last):
        raise CheckpointError(
            f"config.json: num_kv_shared_layers is {shared}, and not all kinds of layers are among the first {own}"
        )
    return (*range(own), *(last[slides] for slides in sliding[own:]))


def _per_layer_rows(fields: Fields, vocab: int) -> int:
    rows = fields.count("vocab_size_per_layer_input", 262144)
    if rows < vocab:
        raise UnsupportedError(
            f"config.json has vocab_size_per_layer_input = {rows}, which is not supported for {vocab} tokens"
        )
    return rows


class PerLayerEmbeddings(nn.Module):
    """A token's embeddings for all layers, side by side, to which what a product makes of its usual one is added."""

    def __init__(self, config: Gemma4Config, w: WeightBuilder) -> None:
        width, columns = config.per_layer, config.num_hidden_layers * config.per_layer
        self.table = w.matrix({"model.embed_tokens_per_layer.weight": config.per_layer_rows}, columns)
        projection = {"model.per_layer_model_projection.weight": columns}
        self.projection = w.matrix(projection, config.hidden_size)
        self.norm = w.row({"model.per_layer_projection_norm.weight": (width,)})
        self.scale, self.factor, self.epsilon = (width / 2) ** 0.5, config.hidden_size**-0.5, config.norm_eps

    def forward(self, ops: Operations[Array], x_TD: Array) -> Callable[[int], Array]:
        """A layer's sum by its index, ``[T, W]``: its own embedding and the product's norm, over the root of 2."""
        own = ops.embed(self.table, name="per_layer_embed", scale=self.scale, rows=True)
        projected = ops.linear("per_layer_project", x_TD, self.projection, factor=self.factor, rows=True)

        def take(layer: int) -> Array:
            factor = 0.5**0.5
            return ops.add_norm_of_span(projected, self.norm, self.epsilon, own, span=layer, factor=factor)

        return take


class Gemma4Layer(nn.Module):
    """Gemma 3's layer, after which its own embedding is added, gated; then all is multiplied by a number."""

    def __init__(self, config: Gemma4Config, w: WeightBuilder, index: int, attention: nn.Module) -> None:
        prefix, hidden, own = f"model.layers.{index}", config.hidden_size, config.per_layer

        def norm(name: str) -> Any:
            return w.vector(f"{prefix}.{name}.weight", hidden)

        self.input_layernorm = norm("input_layernorm")
        self.self_attn = attention
        self.post_attention_layernorm = norm("post_attention_layernorm")
        self.pre_feedforward_layernorm = norm("pre_feedforward_layernorm")
        wide = config.wide and config.source[index] != index
        sizes = replace(config, intermediate_size=2 * config.intermediate_size) if wide else config
        self.mlp = GatedMLP(sizes, w, f"{prefix}.mlp", activation="gelu_tanh")
        self.post_feedforward_layernorm = norm("post_feedforward_layernorm")
        if own:
            self.per_layer_gate = w.matrix({f"{prefix}.per_layer_input_gate.weight": own}, hidden)
            self.per_layer_out = w.matrix({f"{prefix}.per_layer_projection.weight": hidden}, own)
            self.post_per_layer_norm = norm("post_per_layer_input_norm")
        self.scalar = w.row({f"{prefix}.layer_scalar": (1,)})
        self.config, self.index = config, index

    def forward(self, step: Step[Array], x_TD: Array) -> Array:
        norm, ops = self.config.norm, step.ops
        y_TD = self.self_attn(step, x_TD, norm(self.input_layernorm), None)
        x_TD = ops.norm(y_TD, norm(self.post_attention_layernorm), residual=x_TD)
        y_TD = self.mlp(step, x_TD, norm(self.pre_feedforward_layernorm), None)
        last = norm(self.post_feedforward_layernorm)
        if step.own is not None:
            x_TD = ops.norm(y_TD, last, residual=x_TD)
            own_TW = step.own(self.index)
            gated_TW = ops.linear(
                "per_layer_gate", x_TD, self.per_layer_gate, activation="gelu_tanh", times=own_TW
            )
            y_TD = ops.linear("per_layer_out", gated_TW, self.per_layer_out)
            last = norm(self.post_per_layer_norm)
        return ops.norm(y_TD, last, residual=x_TD, scale=self.scalar)


class Gemma4(Decoder):
    """The model."""

    def __init__(
        self,
        config: Gemma4Config,
        scheme: Scheme,
        tier: Tier,
        context: int,
        kv_dtype: str | None = None,
        texts: TextTask | None = None,
    ) -> None:
        self.caches: list[nn.Parameter] = []  # that each layer reads
        super().__init__(config, scheme, tier, context, kv_dtype, texts)
        self.per_layer = PerLayerEmbeddings(config, WeightBuilder(scheme, tier)) if config.per_layer else None

    def make_outline(self, config: Gemma4Config) -> Outline:
        return Outline(scale=config.hidden_size**0.5, cap=config.cap)

    def layer(self, config: Gemma4Config, w: WeightBuilder, layout: HeadLayout, index: int) -> nn.Module:
        slides, source = config.sliding[index], config.source[index]
        heads, rope = config, 1
        if not slides:
            heads, rope = replace(config, head_dim=config.global_head_dim), 0
            layout = replace(layout, head_dim=config.global_head_dim)
        attention = NormedAttention(
            heads,
            w,
            layout,
            f"model.layers.{index}.self_attn",
            scoring=Scoring(1.0, window=config.window if slides else None),
            rope=rope,
            values=True,
            shared=None if source == index else self.caches[source],
        )
        self.caches.extend(attention.reads)
        return Gemma4Layer(config, w, index, attention)

    def own(self, ops: Operations[Array], x_TD: Array) -> Callable[[int], Array] | None:
        return None if self.per_layer is None else self.per_layer(ops, x_TD)

    def shared_kv(self) -> list[nn.Parameter]:
        return [self.caches[source] for i, source in enumerate(self.config.source) if source != i]

    def unused(self) -> list[str]:
        """Layers that read another's keys and values are published with projections of them, which nobody uses."""
        readers = [i for i, source in enumerate(self.config.source) if source != i]
        names = ("k_proj", "v_proj", "k_norm")
        return super().unused() + [f"model.layers.{i}.self_attn.{n}.weight" for i in readers for n in names]
