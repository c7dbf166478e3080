"""Launches the operations on patches of pictures side by side, n patches that become b rows of the language model."""

from __future__ import annotations

from typing import ClassVar

from tvm.relax.frontend.nn import Tensor

from mlcweb.kernels.attention.angles import turn_heads
from mlcweb.kernels.images.beside import beside
from mlcweb.kernels.images.mean import mean
from mlcweb.kernels.images.merge import merge
from mlcweb.kernels.images.spread import spread
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.layouts.storage import WholeMatrix
from mlcweb.kernels.ops.protocol import Rope
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

    def rotate_heads(self, qkv: Tensor, rope: Rope, layout: HeadLayout) -> Tensor:
        """``qkv`` ``[n, (H + 2 J) * P]`` with queries and keys turned by each patch's line and column, in place."""
        kernel = self.kernel(turn_heads, layout)
        return self.launch("rope", kernel, **self._turning(rope), qkv=qkv)["qkv"]

    def spread(self, table: WholeMatrix) -> Tensor:
        """``[n, D]``: of a square of learned positions, spread over the picture, what is at each patch."""
        return self.launch("spread", self.kernel(spread, table), spots=self.inputs.axes, w=table)["x"]

    def beside(self, x: Tensor, part: int, count: int, rows: Tensor | None) -> Tensor:
        """``rows`` ``[b, count * D]`` with x ``[b, D]`` as their ``part``-th; in place, if there are any yet."""
        kernel = self.kernel(beside, int(x.shape[1]), count)
        return self.launch("beside", kernel, x=x, part=part, y=rows)["y"]
