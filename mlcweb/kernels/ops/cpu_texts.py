"""Launches the operations on whole texts side by side, on a CPU."""

from __future__ import annotations

from typing import ClassVar

from tvm.relax.frontend.nn import Tensor

from mlcweb.kernels.cpu.embed import embed
from mlcweb.kernels.cpu.heads import rotate_heads
from mlcweb.kernels.cpu.texts import attend_texts, pool, score, unit
from mlcweb.kernels.layouts.storage import Values, WholeMatrix
from mlcweb.kernels.ops.cpu import CpuPrefill
from mlcweb.kernels.ops.texts import TextKernels, WholeTexts


class CpuTexts(WholeTexts, CpuPrefill):
    """With the CPU's products and norms."""

    text_kernels: ClassVar[TextKernels] = TextKernels(embed, rotate_heads, attend_texts, pool)

    def unit(self, x: Tensor) -> Tensor:
        """x ``[b, D]``, each row of length 1."""
        return self.launch("unit", self.kernel(unit, int(x.shape[1])), x=x)["y"]

    def score(self, x: Tensor, weight: WholeMatrix, bias: Values | None) -> Tensor:
        """``[b, 1]``: x ``[b, D]`` times the last row of ``weight``, less x times its first if it has two."""
        return self.launch("score", self.kernel(score, weight, bias), x=x, w=weight, bias=bias)["y"]
