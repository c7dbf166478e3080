"""Runs a vision tower on the host."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mlcweb.contract.constants import Spot
from mlcweb.contract.pictures import Size, block_order, spots_of, windows_of
from mlcweb.kernels.layouts.storage import WholeMatrix
from mlcweb.models import Decoder
from mlcweb.reference.texts import HostTextOps
from mlcweb.reference.weights import ReferenceWeights

F32 = npt.NDArray[np.float32]


class _HostImageOps(HostTextOps):
    """``ImageOperations`` of one tile, or of a picture, whose patches have ``axes``, their spots."""

    pixels: F32

    def patches(self) -> F32:
        return self.pixels

    def merge(self, x: F32, count: int) -> F32:
        return x.reshape(len(x) // count, -1)

    def mean(self, x: F32, count: int) -> F32:
        mean: F32 = x.reshape(len(x) // count, count, -1).mean(axis=1)
        return mean

    def spread(self, table: WholeMatrix) -> F32:
        assert self.axes is not None, "patches of pictures have spots"
        side = math.isqrt(table.rows)
        rows = self._weights.rows(self._names[id(table)], 0, table.rows)[:, : table.columns]
        along = []
        for at, of in ((Spot.LINE, Spot.LINES), (Spot.COLUMN, Spot.COLUMNS)):
            last = np.maximum(self.axes[:, of] - 1, 1).astype(np.float32)
            place = (self.axes[:, at] * (side - 1)).astype(np.float32) / last
            first = np.floor(place).astype(np.int64)
            part = place - first.astype(np.float32)
            along.append(((first, np.float32(1) - part), (np.minimum(first + 1, side - 1), part)))
        spread = np.zeros((len(self.axes), table.columns), np.float32)
        for line, down in along[0]:
            for column, across in along[1]:
                spread += rows[line * side + column] * (down * across)[:, None]
        return spread

    def beside(self, x: F32, part: int, count: int, rows: F32 | None) -> F32:
        rows = np.empty((len(x), count * x.shape[1]), np.float32) if rows is None else rows
        rows[:, part * x.shape[1] : (part + 1) * x.shape[1]] = x
        return rows


class HostImages:
    """A model's tower, float32 throughout."""

    def __init__(self, model: Decoder, weights: ReferenceWeights, threads: int | None = None) -> None:
        assert model.images is not None, "the model sees nothing"
        self._images, self._config = model.images, model.images.config
        self._ops = _HostImageOps(model, weights, self._images.patches, self._images.patches, threads)

    def rows(self, patches: F32, size: Size | None = None) -> F32:
        """Rows ``[b, D]``, line by line, of the patches ``[n, P]`` of a tile, or of a picture of ``size`` patches.

        Raises ValueError for another number of patches.
        """
        merge, window, order = self._config.merge, self._images.window, None
        spots = None if size is None else spots_of(size, merge, window)
        if size is not None and window is not None:
            self._ops.windows = windows_of(size, merge, window)[:, 0]
            order = block_order((size[0] // merge, size[1] // merge), window)
        most, width = self._images.patches, self._config.patch_width
        fits = len(patches) == most if spots is None else 0 < len(patches) == len(spots) <= most
        if not fits or patches.shape[1:] != (width,):
            raise ValueError(f"patches {patches.shape}, of {most} x {width}")
        self._ops.pixels, self._ops.tokens, self._ops.axes = patches, range(len(patches)), spots
        rows: F32 = self._images(self._ops)
        if order is not None:
            rows[order] = rows.copy()
        return rows
