"""Launches the operations on patches of pictures side by side, n patches that become b rows of the language model."""

from __future__ import annotations

from typing import ClassVar

from tvm.relax.frontend.nn import Tensor

from mlcweb.kernels.images.mean import mean
from mlcweb.kernels.images.merge import merge
from mlcweb.kernels.ops.texts import Texts


class Images(Texts):
    """As texts: each patch sees only its own tile, by ``places``."""

    phase: ClassVar[str] = "image"

    def patches(self) -> Tensor:
        """The patches' normalized pixels ``[n, P]``."""
        patches: Tensor = self.inputs.patches
        return patches

    def merge(self, x: Tensor, count: int) -> Tensor:
        """``[b, count * D]``: ``count`` neighbours of x ``[n, D]`` side by side."""
        kernel = self.kernel(merge, int(x.shape[1]), count)
        return self.launch("merge", kernel, x=x, rows=self.inputs.rows)["y"]

    def mean(self, x: Tensor, count: int) -> Tensor:
        """``[b, D]``: the mean of ``count`` neighbours of x ``[n, D]``."""
        kernel = self.kernel(mean, int(x.shape[1]), count)
        return self.launch("mean", kernel, x=x, rows=self.inputs.rows)["y"]
