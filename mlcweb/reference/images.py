"""Runs a vision tower on the host."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlcweb.models import Decoder
from mlcweb.reference.texts import HostTextOps
from mlcweb.reference.weights import ReferenceWeights

F32 = npt.NDArray[np.float32]


class _HostImageOps(HostTextOps):
    """``ImageOperations`` of one tile."""

    pixels: F32

    def patches(self) -> F32:
        return self.pixels

    def merge(self, x: F32, count: int) -> F32:
        return x.reshape(len(x) // count, -1)

    def mean(self, x: F32, count: int) -> F32:
        mean: F32 = x.reshape(len(x) // count, count, -1).mean(axis=1)
        return mean


class HostImages:
    """A model's tower, float32 throughout."""

    def __init__(self, model: Decoder, weights: ReferenceWeights, threads: int | None = None) -> None:
        assert model.images is not None, "the model sees nothing"
        self._images, self._config = model.images, model.images.config
        self._ops = _HostImageOps(model, weights, self._config.patches, self._config.patches, threads)

    def rows(self, patches: F32) -> F32:
        """Rows ``[b, D]`` of a tile's patches ``[n, P]``. Raises ValueError for another number of patches."""
        if patches.shape != (self._config.patches, self._config.patch_width):
            raise ValueError(
                f"patches {patches.shape}, of {self._config.patches} x {self._config.patch_width}"
            )
        self._ops.pixels, self._ops.tokens = patches, range(len(patches))
        rows: F32 = self._images(self._ops)
        return rows
