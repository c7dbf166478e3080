"""Has what towers for pictures of any shape share: sizes, patches, attention, and how many rows a picture becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tvm.relax.frontend import nn

from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.ops import Array, ImageOperations
from mlcweb.models.parts.attention import Attention
from mlcweb.models.parts.decoder import DecoderConfig, RopeTables
from mlcweb.models.parts.fields import Fields, shown
from mlcweb.models.parts.rope import RopeSettings
from mlcweb.models.parts.vision import CHANNELS
from mlcweb.models.parts.weights import WeightBuilder

# of a picture: a call of the tower has buffers for so many, and attention takes their square
MOST_ROWS = 1024
_THETA = 10000.0
_EPSILON = 1e-6


@dataclass(frozen=True)
class PictureConfig(DecoderConfig):
    """A tower's numbers: patches of ``patch`` pixels; ``merge`` x ``merge`` of them become a row of ``out`` values."""

    patch: int
    merge: int
    out: int

    @classmethod
    def shared(cls, config: Mapping[str, Any], *, positions: int = 1, **defaults: int) -> dict[str, Any]:
        """The keys that these towers name alike; ``defaults`` are what missing keys mean. ``positions``: learned ones,
        which are the vocabulary.
        """
        fields = Fields({**defaults, **{key: value for key, value in config.items() if value is not None}})
        fields.only("in_channels", CHANNELS)
        named = {
            "hidden_size": fields.count("hidden_size"),
            "intermediate_size": fields.count("intermediate_size"),
            "num_hidden_layers": fields.count("depth"),
            "num_attention_heads": fields.count("num_heads"),
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
        return {
            **sizes,
            "tie_word_embeddings": True,
            "norm_eps": _EPSILON,
            # a picture of one line has the longest
            "ropes": (RopeSettings.by_line_and_column(sizes["head_dim"], theta, MOST_ROWS * merge),),
            "patch": fields.count("patch_size"),
            "merge": merge,
            "out": fields.count("out_hidden_size", 3584),
        }

    @property
    def patch_width(self) -> int:
        """Numbers of a patch: by channel, then line, then column."""
        return CHANNELS * self.patch**2

    @property
    def heads_layout(self) -> HeadLayout:
        """Of attention, which keeps nothing."""
        return HeadLayout(self.num_attention_heads, self.num_key_value_heads, self.head_dim, pages=0)


def layers_in(config: Mapping[str, Any], key: str, default: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Some of ``count`` layers, by their numbers. Raises CheckpointError for others."""
    layers = config.get(key, default)
    numbers = isinstance(layers, (list, tuple)) and all(
        isinstance(i, int) and not isinstance(i, bool) for i in layers
    )
    if not numbers or not all(0 <= i < count for i in layers) or list(layers) != sorted(set(layers)):
        raise CheckpointError(f"config.json: {key} is {shown(layers)}, not some of {count} layers in order")
    return tuple(layers)


def picture_attention(
    config: PictureConfig, w: WeightBuilder, prefix: str, *, windows: bool = False
) -> Attention:
    """Each patch sees all others of its picture, or of its window."""
    return Attention(
        config,
        w,
        config.heads_layout,
        prefix,
        scoring=Scoring(config.head_dim**-0.5, ahead=True, windows=windows),
        qkv=("qkv",),
        out="proj",
        qkv_bias=True,
        out_bias=True,
    )


def most_rows(context: int) -> int:
    """Of a picture, which takes half of the context at most, so that there is room for a question and an answer."""
    return min(MOST_ROWS, max(context // 2, 1))


class PictureTower(nn.Module):
    """A transformer over the patches of a picture, with RoPE by line and column; ``prefix`` is the checkpoint's."""

    def __init__(self, config: PictureConfig, w: WeightBuilder, prefix: str) -> None:
        self.config = config
        # what no pixel may be lost by, and no large part of the tower
        patch = {f"{prefix}.patch_embed.proj.weight": config.hidden_size}
        self.patch_embed = w.matrix(patch, config.patch_width, quantized=False)
        self.rope = RopeTables(config.ropes[0], config.ropes[0].longest, w, texts=False)


class Merger(nn.Module):
    """Neighbours side by side, and two products; the norm is of each neighbour, or of all where it comes ``after``.
    ``names`` are the checkpoint's of the norm and the products.
    """

    def __init__(
        self,
        config: PictureConfig,
        w: WeightBuilder,
        prefix: str,
        names: tuple[str, str, str],
        *,
        after: bool = False,
    ) -> None:
        norm, inner, outer = (f"{prefix}.{name}" for name in names)
        self.config, self.after, self.neighbours = config, after, config.merge**2
        joined = self.neighbours * config.hidden_size
        width = joined if after else config.hidden_size
        self.norm, self.norm_bias = w.norm(norm, width, bias=config.centered)
        self.inner = w.matrix({f"{inner}.weight": joined}, joined)
        self.inner_bias = w.row({f"{inner}.bias": (joined,)})
        self.outer = w.matrix({f"{outer}.weight": config.out}, joined)
        self.outer_bias = w.row({f"{outer}.bias": (config.out,)})

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


class PictureRows(nn.Module):
    """A tower, and the language model's rows of what it sees, in a context of so many tokens."""

    spots = True  # patches have spots in a picture, and so do its rows in the language model
    together = False  # rows see those before them
    added = 0  # rows behind each row, which are added after the first layers
    window: int | None = None  # of rows a side, which layers see

    config: PictureConfig

    def __init__(self, tower: PictureTower, context: int) -> None:
        self.config, self.tower, self.rows = tower.config, tower, most_rows(context)

    @property
    def patches(self) -> int:
        """Most patches of a picture."""
        return self.rows * self.config.merge**2

    def turning(self) -> list[tuple[RopeTables, RopeSettings]]:
        """The tower's RoPE."""
        return [(self.tower.rope, self.config.ropes[0])]
