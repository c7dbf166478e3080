"""Declares Qwen3-VL's vision tower, for pictures of any shape, and the rows that the language model gets of it.

A square of learned positions is stretched over the picture. Rows of what the tower's middle layers see are added to
the language model's first layers (DeepStack, https://arxiv.org/abs/2406.04334).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tvm.relax.frontend import nn

from mlcweb.errors import CheckpointError
from mlcweb.kernels.ops import Array, ImageOperations
from mlcweb.kernels.products.outputs import Activation
from mlcweb.models.parts.decoder import Step
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.layer import Layer
from mlcweb.models.parts.mlp import MLP, gelu_of
from mlcweb.models.parts.vision_picture import (
    Merger,
    PictureConfig,
    PictureRows,
    PictureTower,
    layers_in,
    picture_attention,
)
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True)
class GridConfig(PictureConfig):
    """The tower's numbers; ``deep``: after which layers there are rows that are added."""

    deep: tuple[int, ...]
    activation: Activation

    centered: ClassVar[bool] = True

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> GridConfig:
        """Read ``vision_config``. Raises as other configs do."""
        fields = Fields(config)
        positions = fields.count("num_position_embeddings", 2304)
        if math.isqrt(positions) ** 2 != positions:
            raise CheckpointError(f"config.json: num_position_embeddings is {positions}, which is no square")
        shared = cls.shared(
            config,
            positions=positions,
            depth=27,
            hidden_size=1152,
            intermediate_size=4304,
            num_heads=16,
            patch_size=16,
        )
        return cls(
            **shared,
            deep=layers_in(config, "deepstack_visual_indexes", (8, 16, 24), shared["num_hidden_layers"]),
            activation=gelu_of(fields.only("hidden_act", "gelu_pytorch_tanh", "gelu")),
        )


class GridTower(PictureTower):
    """The transformer; ``prefix`` is the checkpoint's."""

    config: GridConfig

    def __init__(self, config: GridConfig, w: WeightBuilder, prefix: str) -> None:
        super().__init__(config, w, prefix)
        hidden = config.hidden_size
        self.patch_bias = w.row({f"{prefix}.patch_embed.proj.bias": (hidden,)})
        table = {f"{prefix}.pos_embed.weight": config.vocab_size}
        self.positions = w.matrix(table, hidden, quantized=False, whole=True)
        places = range(config.num_hidden_layers)
        self.layers = nn.ModuleList([self._layer(config, w, f"{prefix}.blocks.{i}") for i in places])

    @staticmethod
    def _layer(config: GridConfig, w: WeightBuilder, prefix: str) -> nn.Module:
        attention = picture_attention(config, w, f"{prefix}.attn")
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


class GridRows(PictureRows):
    """The tower, and rows of its last layer and of its deep ones."""

    config: GridConfig

    def __init__(self, config: GridConfig, w: WeightBuilder, prefix: str, context: int) -> None:
        super().__init__(GridTower(config, w, prefix), context)
        self.added = len(config.deep)
        names = ("norm", "linear_fc1", "linear_fc2")
        self.merger = Merger(config, w, f"{prefix}.merger", names)
        deep = [f"{prefix}.deepstack_merger_list.{i}" for i in range(self.added)]
        self.deep_mergers = nn.ModuleList([Merger(config, w, name, names, after=True) for name in deep])

    def forward(self, ops: ImageOperations[Array]) -> Array:
        """Rows ``[b, (1 + added) * D]`` of the n patches that ``ops`` is for."""
        rows: list[Array] = []  # what there is of them

        def put(part: int, seen_BD: Array) -> None:
            made = ops.beside(seen_BD, part, 1 + self.added, rows[-1] if rows else None)
            rows.append(made)

        # at once, so that what the layers made is not kept until the end
        x_TD = self.tower(ops, lambda i, seen_TD: put(1 + i, self.deep_mergers[i](ops, seen_TD)))
        last_BD: Array = self.merger(ops, x_TD)
        if not self.added:
            return last_BD
        put(0, last_BD)
        return rows[-1]
