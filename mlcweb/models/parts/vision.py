"""Declares a vision tower: a transformer over the patches of square tiles, and rows of the language model after it.

The tower is SigLIP's (https://arxiv.org/abs/2303.15343). Patches come in blocks of ``merge`` x ``merge``, so that the
neighbours which become one row are one after the other, and their learned positions are stored in that order too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from tvm.relax.frontend import nn

from mlcweb.contract.manifest import ImagePrompt
from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.ops import Array, ImageOperations, Rope
from mlcweb.kernels.products.outputs import Activation
from mlcweb.models.parts.attention import Attention
from mlcweb.models.parts.decoder import DecoderConfig, Step
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.layer import Layer
from mlcweb.models.parts.mlp import MLP, gelu_of
from mlcweb.models.parts.rope import RopeSettings
from mlcweb.models.parts.weights import Order, WeightBuilder

CHANNELS = 3


@dataclass(frozen=True)
class VisionConfig(DecoderConfig):
    """A tower's numbers: a tile of ``tile`` pixels a side has ``side`` patches a side, of ``patch`` pixels. Blocks of
    ``merge`` x ``merge`` become one row. Its vocabulary are the patches' positions.
    """

    tile: int
    patch: int
    side: int
    merge: int
    activation: Activation

    centered: ClassVar[bool] = True

    @classmethod
    def from_hf(cls, config: Mapping[str, Any], merge: int, **defaults: int) -> VisionConfig:
        """Read ``vision_config``; ``defaults`` are what missing keys mean. Raises as other configs do."""
        fields = Fields({**defaults, **{key: value for key, value in config.items() if value is not None}})
        fields.only("num_channels", CHANNELS)
        tile, patch = fields.count("image_size"), fields.count("patch_size")
        side = tile // patch  # pixels that are left over are not seen
        if side == 0 or side % merge:
            raise CheckpointError(
                f"config.json: a tile has {side} patches a side, which are no whole blocks of {merge}"
            )
        positions = {"vocab_size": side**2, "max_position_embeddings": side**2}
        sizes = cls.sizes(Fields({**fields.config, **positions}), cached=False)
        if sizes["head_dim"] * sizes["num_attention_heads"] != sizes["hidden_size"]:
            raise UnsupportedError(
                f"a tower of {sizes['hidden_size']} values and {sizes['num_attention_heads']} heads is not supported"
            )
        return cls(
            **{**sizes, "tie_word_embeddings": True},
            norm_eps=fields.number("layer_norm_eps", 1e-6),
            ropes=(RopeSettings.none(sizes["head_dim"]),),
            tile=tile,
            patch=patch,
            side=side,
            merge=merge,
            activation=gelu_of(fields.only("hidden_act", "gelu_pytorch_tanh", "gelu")),
        )

    @property
    def patches(self) -> int:
        """Of a tile."""
        return self.side**2

    @property
    def rows(self) -> int:
        """That a tile becomes."""
        return self.patches // self.merge**2

    @property
    def patch_width(self) -> int:
        """Numbers of a patch: by channel, then line, then column."""
        return CHANNELS * self.patch**2

    def block_order(self) -> npt.NDArray[np.int64]:
        """Which patch, line by line, is in each place, block by block."""
        blocks = self.side // self.merge
        lines = np.arange(self.patches).reshape(blocks, self.merge, blocks, self.merge)
        order: npt.NDArray[np.int64] = lines.swapaxes(1, 2).reshape(-1)
        return order


@dataclass(frozen=True)
class ImageWords:
    """How a model's prompts name pictures: ``token`` is the chat template's, ``row`` stands for a row, and ``prompt``
    has what is around rows.
    """

    token: str
    row: str
    prompt: ImagePrompt


class VisionTower(nn.Module):
    """The transformer; ``prefix`` is the checkpoint's, and ``positions`` the row of its table for each patch, line by
    line.
    """

    def __init__(self, config: VisionConfig, w: WeightBuilder, prefix: str, positions: Order) -> None:
        hidden, heads, embeddings = config.hidden_size, config.num_attention_heads, f"{prefix}.embeddings"
        self.config = config
        # what no pixel may be lost by, and no large part of the tower
        patch = {f"{embeddings}.patch_embedding.weight": hidden}
        self.patch_embed = w.matrix(patch, config.patch_width, quantized=False)
        self.patch_bias = w.row({f"{embeddings}.patch_embedding.bias": (hidden,)})
        table = {f"{embeddings}.position_embedding.weight": config.patches}
        order = positions[config.block_order()]
        self.positions = w.matrix(table, hidden, quantized=False, order=order)
        layout = HeadLayout(heads, config.num_key_value_heads, config.head_dim, pages=0)
        places = range(config.num_hidden_layers)
        self.layers = nn.ModuleList(
            [self._layer(config, w, layout, f"{prefix}.encoder.layers.{i}") for i in places]
        )
        self.norm, self.norm_bias = w.norm(f"{prefix}.post_layernorm", hidden, bias=True)

    @staticmethod
    def _layer(config: VisionConfig, w: WeightBuilder, layout: HeadLayout, prefix: str) -> nn.Module:
        attention = Attention(
            config,
            w,
            layout,
            f"{prefix}.self_attn",
            scoring=Scoring(config.head_dim**-0.5, ahead=True),
            out="out_proj",
            qkv_bias=True,
            out_bias=True,
        )
        mlp = MLP(config, w, f"{prefix}.mlp", ("fc1", "fc2"), config.activation)
        return Layer(config, w, prefix, attention, mlp, norms=("layer_norm1", "layer_norm2"))

    def forward(self, ops: ImageOperations[Array]) -> Array:
        """x ``[n, D]`` of the patches that ``ops`` is for, normalized."""
        places_TD = ops.embed(self.positions)
        x_TD = ops.linear("patch", ops.patches(), self.patch_embed, bias=self.patch_bias, residual=places_TD)
        step = Step(ops, (Rope(None, None, turns=False),))
        for layer in self.layers:
            x_TD = layer(step, x_TD)
        return ops.norm(x_TD, self.config.norm(self.norm, self.norm_bias))
