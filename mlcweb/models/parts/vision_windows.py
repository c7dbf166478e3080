"""Declares Qwen2.5-VL's vision tower, for pictures of any shape, and the rows that the language model gets of it.

Most layers see windows of a picture, so patches come window by window. There are no learned positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tvm.relax.frontend import nn

from mlcweb.errors import CheckpointError
from mlcweb.kernels.ops import Array, ImageOperations
from mlcweb.models.parts.decoder import Step
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.layer import Layer
from mlcweb.models.parts.mlp import GatedMLP
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
class WindowsConfig(PictureConfig):
    """The tower's numbers; a window has ``window`` rows a side, and the layers ``whole`` see all of a picture."""

    window: int
    whole: tuple[int, ...]

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> WindowsConfig:
        """Read ``vision_config``. Raises as other configs do."""
        fields = Fields(config)
        fields.only("hidden_act", "silu")
        shared = cls.shared(
            config, depth=32, hidden_size=3584, intermediate_size=3420, num_heads=16, patch_size=14
        )
        pixels, row = fields.count("window_size", 112), shared["patch"] * shared["merge"]
        if pixels < row:
            raise CheckpointError(f"config.json: window_size is {pixels}, less than a row's {row} pixels")
        whole = layers_in(config, "fullatt_block_indexes", (7, 15, 23, 31), shared["num_hidden_layers"])
        return cls(**shared, window=pixels // row, whole=whole)


class WindowsTower(PictureTower):
    """The transformer; ``prefix`` is the checkpoint's."""

    def __init__(self, config: WindowsConfig, w: WeightBuilder, prefix: str) -> None:
        super().__init__(config, w, prefix)
        layers = [
            self._layer(config, w, f"{prefix}.blocks.{i}", windows=i not in config.whole)
            for i in range(config.num_hidden_layers)
        ]
        self.layers = nn.ModuleList(layers)

    @staticmethod
    def _layer(config: WindowsConfig, w: WeightBuilder, prefix: str, *, windows: bool) -> nn.Module:
        attention = picture_attention(config, w, f"{prefix}.attn", windows=windows)
        mlp = GatedMLP(config, w, f"{prefix}.mlp", bias=True)
        return Layer(config, w, prefix, attention, mlp, norms=("norm1", "norm2"))

    def forward(self, ops: ImageOperations[Array]) -> Array:
        """x ``[n, D]`` of the patches that ``ops`` is for."""
        x_TD = ops.linear("patch", ops.patches(), self.patch_embed)
        step = Step(ops, (self.rope.rope,))
        for layer in self.layers:
            x_TD = layer(step, x_TD)
        return x_TD


class WindowsRows(PictureRows):
    """The tower, and rows of its last layer, line by line."""

    def __init__(self, config: WindowsConfig, w: WeightBuilder, prefix: str, context: int) -> None:
        super().__init__(WindowsTower(config, w, prefix), context)
        self.window = config.window
        self.merger = Merger(config, w, f"{prefix}.merger", ("ln_q", "mlp.0", "mlp.2"))

    def forward(self, ops: ImageOperations[Array]) -> Array:
        """Rows ``[b, D]`` of the n patches that ``ops`` is for."""
        rows: Array = self.merger(ops, self.tower(ops))
        return rows
