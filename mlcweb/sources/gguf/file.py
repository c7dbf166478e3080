"""Reads the metadata and tensor table of a GGUF file, and checks them against the file's size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import _type_traits as dequantizers
from gguf.quants import dequantize

from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.sources.checkpoint import read_span
from mlcweb.sources.gguf.reader import describe, read_header

# Stored as they are; everything else goes through the library's dequantizer and comes out as float32.
_PLAIN: dict[Any, tuple[str, Any]] = {
    GGMLQuantizationType.F32: ("float32", np.float32),
    GGMLQuantizationType.F16: ("float16", np.float16),
    GGMLQuantizationType.BF16: ("bfloat16", ml_dtypes.bfloat16),
}


@dataclass(frozen=True)
class GgufTensor:
    """A tensor of the file: shape as numpy has it (rows first), type, and where its bytes are."""

    path: Path
    name: str
    shape: tuple[int, ...]
    kind: Any  # GGMLQuantizationType
    offset: int
    size: int

    @property
    def dtype(self) -> str:
        """What ``load_rows`` returns, as a numpy name."""
        return _PLAIN[self.kind][0] if self.kind in _PLAIN else "float32"

    def load_blocks(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """The bytes of rows ``start`` to ``stop`` of a matrix: uint8 ``[stop - start, bytes of a row]``."""
        row_bytes = self.size // self.shape[0]
        data = read_span(self.path, self.offset + start * row_bytes, (stop - start) * row_bytes)
        return data.reshape(stop - start, row_bytes)

    def load_rows(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Rows ``start`` to ``stop`` along axis 0, dequantized: shape ``(stop - start, *shape[1:])``."""
        # A quantized vector is one row of blocks, so the rows of a 1-D tensor are cut after dequantizing it.
        rows = self.shape[0] if len(self.shape) > 1 else 1
        first, last = (start, stop) if len(self.shape) > 1 else (0, 1)
        row_bytes = self.size // rows
        data = read_span(self.path, self.offset + first * row_bytes, (last - first) * row_bytes)
        if self.kind in _PLAIN:
            values: npt.NDArray[Any] = data.view(_PLAIN[self.kind][1])
        else:
            blocks = data.reshape(-1, row_bytes // math.prod(self.shape[1:-1])) if data.size else data
            values = dequantize(blocks, self.kind) if data.size else np.empty(0, np.float32)
        if len(self.shape) == 1:
            return values.reshape(-1)[start:stop]
        return values.reshape(stop - start, *self.shape[1:])


@dataclass(frozen=True)
class GgufFile:
    """The file's key-value metadata (strings, numbers, lists) and its tensors by GGUF name."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]

    def require(self, key: str, kind: type | tuple[type, ...]) -> Any:
        """A metadata value. Raises CheckpointError if it is missing or of another type."""
        if key not in self.metadata:
            raise CheckpointError(f"{self.path}: its metadata lacks {key}")
        value = self.metadata[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise CheckpointError(f"{self.path}: {key} is {describe(value)}, of the wrong type")
        return value


def read_gguf(path: Path) -> GgufFile:
    """Parse ``path``. Raises CheckpointError for anything that is not a complete GGUF file of this byte
    order, UnsupportedError for a tensor type that the gguf library cannot dequantize."""
    metadata, entries = read_header(path)
    size = path.stat().st_size
    tensors = {}
    for entry in entries:
        name, shape, kind = entry.name, entry.shape, entry.kind
        block, block_bytes = GGML_QUANT_SIZES[kind]
        nbytes = math.prod(shape) // block * block_bytes
        if shape[-1] % block or entry.offset + nbytes > size:
            raise CheckpointError(
                f"{path}: tensor {name} ({kind.name}, {list(shape)}) does not fit in the file's {size} bytes",
                hint="An interrupted download leaves such a file; fetch it again.",
            )
        if kind not in _PLAIN and kind not in dequantizers:
            raise UnsupportedError(f"{path}: tensor {name} is {kind.name}, which gguf cannot dequantize")
        tensors[name] = GgufTensor(path, name, shape, kind, entry.offset, nbytes)
    return GgufFile(path, metadata, tensors)
