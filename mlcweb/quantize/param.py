"""A parameter is a weight to store; its tensors follow from the scheme. No data is read here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from mlcweb.quantize.formats import Format
from mlcweb.quantize.schemes import Part, Scheme, Stored

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class Param:
    """One tensor of the compiled model: ``shape`` (N, K) or (D,), made of checkpoint tensors ``sources``
    stacked along axis 0. ``quantized`` ones are stored as the scheme says (2-D only; sources that are in one
    parameter are stored alike), of the model's ``part``. ``block_order`` ones, vectors, are
    stored so (``kernels.layouts.block_order``).

    ``order`` [N] names the stacked row that is stored in each place; without it they are stored as they are stacked.
    ``transposed``: the checkpoint has each source as [K, rows]. ``plus`` is added to every value.
    """

    name: str
    shape: tuple[int, ...]
    sources: tuple[str, ...]
    quantized: bool
    block_order: bool = False
    part: Part = "layers"
    order: npt.NDArray[np.int64] | None = field(default=None, compare=False, repr=False)
    transposed: bool = False
    plus: float = 0.0

    def rows_of(self, shape: tuple[int, ...]) -> int:
        """Rows that a source of ``shape`` brings."""
        return shape[1] if self.transposed else shape[0]

    def stored(self, scheme: Scheme) -> Stored:
        """How it is stored: a format, or a type of floats."""
        return scheme.stored(next(iter(self.sources), ""), self.part) if self.quantized else scheme.activation


@dataclass(frozen=True)
class PackedTensor:
    """One tensor as it is stored in the bundle."""

    name: str
    dtype: Literal["uint32", "float16", "float32"]
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Stored size in bytes."""
        return math.prod(self.shape) * (2 if self.dtype == "float16" else 4)


def packed_tensors(param: Param, scheme: Scheme) -> list[PackedTensor]:
    """The stored tensors of ``param``, in the order ``quantize_params`` yields them.

    In a format: codes uint32 [N, words], for each plane, and scales, floats [N, groups] or uint32 [N, words]; for
    MLC's, ``<name>.q_weight`` and ``<name>.q_scale``. A vector in block order: ``<name>.blocks``, in the activation
    dtype. bfloat16: ``<name>.bf16``, uint32 [N, K / 2]. Other floats: ``<name>.weight``.
    """
    stored = param.stored(scheme)
    if isinstance(stored, Format):
        n, k = param.shape
        *planes, scales = (f"{param.name}.{tensor}" for tensor in stored.tensors)
        codes = [PackedTensor(name, "uint32", (n, stored.words(k, i))) for i, name in enumerate(planes)]
        if stored.scale == "e8m0" or not stored.lone:
            return [*codes, PackedTensor(scales, "uint32", (n, stored.scale_words(k)))]
        return [*codes, PackedTensor(scales, stored.scale, (n, stored.groups(k)))]
    if param.block_order:
        return [PackedTensor(f"{param.name}.blocks", scheme.activation, param.shape)]
    if stored == "bfloat16":
        return [PackedTensor(f"{param.name}.bf16", "uint32", (*param.shape[:-1], param.shape[-1] // 2))]
    return [
        PackedTensor(f"{param.name}.weight", "float16" if stored == "float16" else "float32", param.shape)
    ]
