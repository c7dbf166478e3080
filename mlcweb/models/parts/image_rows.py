"""Declares what makes rows of the language model of what a vision tower sees."""

from __future__ import annotations

from tvm.relax.frontend import nn

from mlcweb.kernels.ops import Array, ImageOperations
from mlcweb.kernels.products.matvec import Norm
from mlcweb.models.parts.decoder import RopeTables
from mlcweb.models.parts.rope import RopeSettings
from mlcweb.models.parts.vision import VisionConfig, VisionTower
from mlcweb.models.parts.weights import WeightBuilder


class ImageRows(nn.Module):
    """A tower, and rows of what it sees. With ``together`` a picture's rows see one another in the language model,
    those after too.
    """

    added = 0  # rows behind each row, which are added after the first layers
    spots = False  # patches have positions in a tile, not spots in a picture
    window: int | None = None  # of rows a side, which layers see

    def __init__(self, tower: VisionTower, *, together: bool = False) -> None:
        self.tower, self.together = tower, together
        self.neighbours = tower.config.merge**2

    @property
    def config(self) -> VisionConfig:
        """The tower's numbers."""
        return self.tower.config

    @property
    def patches(self) -> int:
        """Of a call."""
        return self.config.patches

    @property
    def rows(self) -> int:
        """That they become."""
        return self.config.rows

    def turning(self) -> list[tuple[RopeTables, RopeSettings]]:
        """Of RoPE, of which these towers have none."""
        return []

    def forward(self, ops: ImageOperations[Array]) -> Array:
        """Rows ``[b, D]`` of the n patches that ``ops`` is for."""
        raise NotImplementedError


class JoinedRows(ImageRows):
    """Neighbours side by side, and a product: ``projection`` is the checkpoint's name."""

    def __init__(self, tower: VisionTower, w: WeightBuilder, projection: str, hidden: int) -> None:
        super().__init__(tower)
        self.projection = w.matrix({projection: hidden}, self.neighbours * tower.config.hidden_size)

    def forward(self, ops: ImageOperations[Array]) -> Array:
        merged = ops.merge(self.tower(ops), self.neighbours)
        return ops.linear("project", merged, self.projection)


class MeanRows(ImageRows):
    """The mean of neighbours, RMSNorm with weights ``1 + norm``, and a product; the names are the checkpoint's."""

    def __init__(self, tower: VisionTower, w: WeightBuilder, norm: str, projection: str, hidden: int) -> None:
        super().__init__(tower, together=True)
        width = tower.config.hidden_size
        self.norm = w.vector(norm, width, plus=1.0)
        self.projection = w.matrix({projection: hidden}, width, transposed=True)

    def forward(self, ops: ImageOperations[Array]) -> Array:
        mean_BD = ops.mean(self.tower(ops), self.neighbours)
        return ops.linear("project", mean_BD, self.projection, norm=Norm(self.norm, self.config.norm_eps))
