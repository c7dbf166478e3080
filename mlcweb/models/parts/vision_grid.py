"""Declares a vision tower for pictures of any shape, Qwen3-VL's, and the rows that the language model gets of it.

A patch has a place in its picture: a square of learned positions is stretched over the picture, and heads turn by line
and column. Rows of what the tower's middle layers see are added to the language model's first layers (DeepStack,
https://arxiv.org/abs/2406.04334).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tvm.relax.frontend import nn

from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.ops import Array, ImageOperations
from mlcweb.kernels.products.outputs import Activation
from mlcweb.models.parts.attention import Attention
from mlcweb.models.parts.decoder import DecoderConfig, RopeTables, Step
from mlcweb.models.parts.fields import Fields, shown
from mlcweb.models.parts.layer import Layer
from mlcweb.models.parts.mlp import MLP, gelu_of
from mlcweb.models.parts.rope import RopeSettings
from mlcweb.models.parts.vision import CHANNELS
from mlcweb.models.parts.weights import WeightBuilder

MOST_ROWS = (
    1024  # of a picture: a call of the tower has buffers for so many, and attention takes their square
)
_THETA = 10000.0
_EPSILON = 1e-6


@dataclass(frozen=True)
class GridConfig(DecoderConfig):
    """The tower's numbers: patches of ``patch`` pixels, of which ``merge`` x ``merge`` become a row of ``out`` values.
    ``deep``: after which layers there are rows that are added. Its vocabulary are the learned positions.
    """

    patch: int
    merge: int
    out: int
    deep: tuple[int, ...]
    activation: Activation

    centered: ClassVar[bool] = True

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> GridConfig:
        """Read ``vision_config``. Raises as other configs do."""
        fields = Fields(config)
        fields.only("in_channels", CHANNELS)
        layers, positions = fields.count("depth", 27), fields.count("num_position_embeddings", 2304)
        if math.isqrt(positions) ** 2 != positions:
            raise CheckpointError(f"config.json: num_position_embeddings is {positions}, which is no square")
        named = {
            "hidden_size": fields.count("hidden_size", 1152),
            "intermediate_size": fields.count("intermediate_size", 4304),
            "num_hidden_layers": layers,
            "num_attention_heads": fields.count("num_heads", 16),
            "vocab_size": positions,
            "max_position_embeddings": positions,
        }
        sizes = cls.sizes(Fields(named), cached=False)
        if sizes["head_dim"] * sizes["num_attention_heads"] != sizes["hidden_size"]:
            raise UnsupportedError(
                f"a tower of {sizes['hidden_size']} values and {sizes['num_attention_heads']} heads is not supported"
            )
        rope = config.get("rope_parameters")
        theta = Fields(rope if isinstance(rope, Mapping) else {}).number("rope_theta", _THETA)
        merge = fields.count("spatial_merge_size", 2)
        return cls(
            **{**sizes, "tie_word_embeddings": True},
            norm_eps=_EPSILON,
            # a picture of one line has the longest
            ropes=(RopeSettings.by_line_and_column(sizes["head_dim"], theta, MOST_ROWS * merge),),
            patch=fields.count("patch_size", 16),
            merge=merge,
            out=fields.count("out_hidden_size", 3584),
            deep=_deep(config, layers),
            activation=gelu_of(fields.only("hidden_act", "gelu_pytorch_tanh", "gelu")),
        )

    @property
    def patch_width(self) -> int:
        """Numbers of a patch: by channel, then line, then column."""
        return CHANNELS * self.patch**2


def _deep(config: Mapping[str, Any], layers: int) -> tuple[int, ...]:
    deep = config.get("deepstack_visual_indexes", (8, 16, 24))
    numbers = isinstance(deep, (list, tuple)) and all(
        isinstance(i, int) and not isinstance(i, bool) for i in deep
    )
    if not numbers or not all(0 <= i < layers for i in deep) or list(deep) != sorted(set(deep)):
        raise CheckpointError(
            f"config.json: deepstack_visual_indexes is {shown(deep)}, not some of {layers} layers in order"
        )
    return tuple(deep)


class GridTower(nn.Module):
    """The transformer; ``prefix`` is the checkpoint's."""

    def __init__(self, config: GridConfig, w: WeightBuilder, prefix: str) -> None:
        hidden, heads = config.hidden_size, config.num_attention_heads
        self.config = config
        # what no pixel may be lost by, and no large part of the tower
        patch = {f"{prefix}.patch_embed.proj.weight": hidden}
        self.patch_embed = w.matrix(patch, config.patch_width, quantized=False)
        self.patch_bias = w.row({f"{prefix}.patch_embed.proj.bias": (hidden,)})
        self.positions = w.matrix(
            {f"{prefix}.pos_embed.weight": config.vocab_size}, hidden, quantized=False, whole=True
        )
        self.rope = RopeTables(config.ropes[0], config.ropes[0].longest, w, texts=False)
        layout = HeadLayout(heads, config.num_key_value_heads, config.head_dim, pages=0)
        places = range(config.num_hidden_layers)
        self.layers = nn.ModuleList([self._layer(config, w, layout, f"{prefix}.blocks.{i}") for i in places])

    @staticmethod
    def _layer(config: GridConfig, w: WeightBuilder, layout: HeadLayout, prefix: str) -> nn.Module:
        attention = Attention(
            config,
            w,
            layout,
            f"{prefix}.attn",
            scoring=Scoring(config.head_dim**-0.5, ahead=True),
            qkv=("qkv",),
            out="proj",
            qkv_bias=True,
            out_bias=True,
        )
        mlp = MLP(config, w, f"{prefix}.mlp", ("linear_fc1", "linear_fc2"), config.activation)
        return Layer(config, w, prefix, attention, mlp, norms=("norm1", "norm2"))

    def forward(
        self, ops: ImageOperations[Array], deep: Callable[[int, Array], None] = lambda index, x_TD: None
    ) -> Array:
        """x ``[n, D]`` of the patches that ``ops`` is for; ``deep`` gets the same after each deep layer."""
        spread_TD = ops.spread(self.positions)
        x_TD = ops.linear("patch", ops.patches(), self.patch_embed, bias=self.patch_bias, residual=spread_TD)
        step = Step(ops, (self.rope.rope,))
        for index, layer in enumerate(self.layers):
            x_TD = layer(step, x_TD)
            if index in self.config.deep:
                deep(self.config.deep.index(index), x_TD)
        return x_TD


class Merger(nn.Module):
    """Neighbours side by side, and two products; the norm is of each neighbour, or of all where it comes ``after``."""

    def __init__(self, config: GridConfig, w: WeightBuilder, prefix: str, *, after: bool) -> None:
        self.config, self.after, self.neighbours = config, after, config.merge**2
        joined = self.neighbours * config.hidden_size
        width = joined if after else config.hidden_size
        self.norm, self.norm_bias = w.norm(f"{prefix}.norm", width, bias=True)
        self.inner = w.matrix({f"{prefix}.linear_fc1.weight": joined}, joined)
        self.inner_bias = w.row({f"{prefix}.linear_fc1.bias": (joined,)})
        self.outer = w.matrix({f"{prefix}.linear_fc2.weight": config.out}, joined)
        self.outer_bias = w.row({f"{prefix}.linear_fc2.bias": (config.out,)})

    def forward(self, ops: ImageOperations[Array], x_TD: Array) -> Array:
        """Rows ``[b, D]``."""
        norm = self.config.norm(self.norm, self.norm_bias)
        if not self.after:
            x_TD = ops.norm(x_TD, norm)
        joined = ops.merge(x_TD, self.neighbours)
        if self.after:
            joined = ops.norm(joined, norm)
        hidden = ops.linear("merge_up", joined, self.inner, bias=self.inner_bias, activation="gelu")
        return ops.linear("merge_down", hidden, self.outer, bias=self.outer_bias)


def most_rows(context: int) -> int:
    """Of a picture, which takes half of the context at most, so that there is room for a question and an answer."""
    return min(MOST_ROWS, max(context // 2, 1))


class GridRows(nn.Module):
    """A tower, and the language model's rows of what it sees, in a context of so many tokens."""

    spots = True  # patches have spots in a picture, and so do its rows in the language model
    together = False  # rows see those before them

    def __init__(self, config: GridConfig, w: WeightBuilder, prefix: str, context: int) -> None:
        self.config = config
        self.rows = most_rows(context)
        self.tower = GridTower(config, w, prefix)
        self.merger = Merger(config, w, f"{prefix}.merger", after=False)
        self.deep_mergers = nn.ModuleList(
            [
                Merger(config, w, f"{prefix}.deepstack_merger_list.{i}", after=True)
                for i in range(len(config.deep))
            ]
        )

    @property
    def patches(self) -> int:
        """Most patches of a picture."""
        return self.rows * self.config.merge**2

    @property
    def added(self) -> int:
        """Rows behind each row, which are added after the first layers."""
        return len(self.config.deep)

    def turning(self) -> list[tuple[RopeTables, RopeSettings]]:
        """The tower's RoPE."""
        return [(self.tower.rope, self.config.ropes[0])]

    def forward(self, ops: ImageOperations[Array]) -> Array:
        """Rows ``[b, (1 + added) * D]`` of the n patches that ``ops`` is for."""
        added: list[Array] = []
        # at once, so that what the layers made is not kept until the end
        x_TD = self.tower(ops, lambda i, seen_TD: added.append(self.deep_mergers[i](ops, seen_TD)))
        rows = self.merger(ops, x_TD)
        return ops.beside([rows, *added]) if added else rows
