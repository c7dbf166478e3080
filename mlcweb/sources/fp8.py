"""Dequantizes weights of 8-bit floats (E4M3) as their rows are read.

A weight lies beside its scale: one for the whole, or one for each block of rows and columns. What is left out are
scales of activations, which a checkpoint for such products has too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from mlcweb.errors import CheckpointError
from mlcweb.sources.checkpoint import LazyTensor

F32 = npt.NDArray[np.float32]
Sampled = tuple[LazyTensor, bytes]

DTYPE = "float8_e4m3fn"
_SCALES = ("_scale_inv", "_scale")  # of a name that ends in weight
_ACTIVATIONS = (".activation_scale", ".input_scale")


def without_fp8(where: str, tensors: Mapping[str, Sampled]) -> dict[str, Sampled]:
    """The tensors, those of 8 bits as float32. Raises CheckpointError for one without a scale that fits it."""
    if not any(tensor.dtype == DTYPE for tensor, _ in tensors.values()):
        return dict(tensors)
    found, scales = {}, set()
    for name, (tensor, sample) in tensors.items():
        if tensor.dtype == DTYPE:
            scale = next((name + end for end in _SCALES if name + end in tensors), None)
            if scale is None:
                raise CheckpointError(
                    f"{where}: {name} has 8 bits, and no scale beside it ({name}{_SCALES[0]})",
                    hint="Is the download complete?",
                )
            scales.add(scale)
            found[name] = _dequantized(where, tensor, tensors[scale][0]), sample
        elif not name.endswith(_ACTIVATIONS):
            found[name] = tensor, sample
    return {name: tensor for name, tensor in found.items() if name not in scales}


def _dequantized(where: str, tensor: LazyTensor, scale: LazyTensor) -> LazyTensor:
    if len(tensor.shape) != 2:
        raise CheckpointError(
            f"{where}: {tensor.name} has 8 bits and the shape {list(tensor.shape)}, not a matrix's"
        )
    blocks = scale.shape if len(scale.shape) == 2 else (1, 1)
    if math.prod(scale.shape) != math.prod(blocks) or not all(
        0 < count <= size for count, size in zip(blocks, tensor.shape, strict=True)
    ):
        raise CheckpointError(
            f"{where}: {scale.name} has the shape {list(scale.shape)}, which does not fit {tensor.name}, "
            f"{list(tensor.shape)}"
        )
    return replace(tensor, dtype="float32", load_rows=partial(_load, where, tensor, scale, blocks))


def _load(
    where: str, tensor: LazyTensor, scale: LazyTensor, blocks: tuple[int, ...], start: int, stop: int
) -> F32:
    rows, columns = (_block(size, count) for size, count in zip(tensor.shape, blocks, strict=True))
    values: F32 = tensor.read(slice(start, stop)).astype(np.float32)
    factors: Any = scale.read().astype(np.float32).reshape(blocks)
    if not np.isfinite(factors).all():
        raise CheckpointError(f"{where}: {scale.name} has a scale that is no number")
    of_rows = factors[np.arange(start, stop) // rows]
    values *= np.repeat(of_rows, columns, axis=1)[:, : tensor.shape[1]]
    return values


def _block(size: int, count: int) -> int:
    """Rows or columns of a block: all, or a power of two, of which the last may have fewer."""
    if count == 1:
        return size
    return int(2 ** math.ceil(math.log2(size / count)))
