"""What the compiled model wants stored, and the tensors that each scheme stores it as; no data is read."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from mlcweb.quantize.schemes import Scheme


@dataclass(frozen=True)
class Param:
    """One tensor of the compiled model: ``shape`` (N, K) or (D,), made of checkpoint tensors ``sources``
    stacked along axis 0. ``quantized`` ones are group-quantized if the scheme quantizes at all (2-D
    only); ``vocab`` ones, an embedding or a head, if it quantizes those too. ``blocks`` ones, vectors, are
    stored in block order (``kernels.blocks``).

    ``order`` [N] names the stacked row that is stored in each place; without it they are stored as they are stacked.
    ``transposed``: the checkpoint has each source as [K, rows]. ``plus`` is added to every value.
    """

    name: str
    shape: tuple[int, ...]
    sources: tuple[str, ...]
    quantized: bool
    blocks: bool = False
    vocab: bool = False
    order: npt.NDArray[np.int64] | None = field(default=None, compare=False, repr=False)
    transposed: bool = False
    plus: float = 0.0

    def rows_of(self, shape: tuple[int, ...]) -> int:
        """Rows that a source of ``shape`` brings."""
        return shape[1] if self.transposed else shape[0]

    def packed(self, scheme: Scheme) -> bool:
        """Whether it is stored as codes and scales."""
        return self.quantized and scheme.quantizes(vocab=self.vocab)


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

    Quantized: ``<name>.q_weight`` uint32 [N, words] and ``<name>.q_scale`` [N, groups]. A vector in block order:
    ``<name>.blocks``. Otherwise ``<name>.weight``. All but codes are in the activation dtype.
    """
    if param.packed(scheme):
        n, k = param.shape
        return [
            PackedTensor(f"{param.name}.q_weight", "uint32", (n, scheme.words(k))),
            PackedTensor(f"{param.name}.q_scale", scheme.activation, (n, scheme.groups(k))),
        ]
    if param.blocks:
        return [PackedTensor(f"{param.name}.blocks", scheme.activation, param.shape)]
    return [PackedTensor(f"{param.name}.weight", scheme.activation, param.shape)]
