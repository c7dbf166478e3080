"""Reads the tensors of one safetensors file when they are asked for.

The safetensors library validates the header (length, JSON, offsets, shapes against byte counts); the rows are
then read with plain file reads, because a map of a multi-gigabyte file would count as this process's memory.
Format: https://huggingface.co/docs/safetensors (an 8-byte little-endian header length, JSON, then the data).
"""

from __future__ import annotations

import json
import math
import struct
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.sources import fp8
from mlcweb.sources.checkpoint import LazyTensor, read_span, sample_span

_DTYPES: dict[str, tuple[str, Any]] = {
    "F32": ("float32", np.float32),
    "F16": ("float16", np.float16),
    "BF16": ("bfloat16", ml_dtypes.bfloat16),
    "U8": ("uint8", np.uint8),
    "F8_E4M3": (fp8.DTYPE, ml_dtypes.float8_e4m3fn),
}


def open_safetensors(path: Path) -> dict[str, tuple[LazyTensor, bytes]]:
    """Every tensor of ``path`` with its fingerprint sample. Raises CheckpointError naming the file."""
    try:
        with safe_open(path, framework="np"):
            pass
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a complete safetensors file: {error}",
            hint="An interrupted download leaves such a file; fetch it again.",
        ) from error
    with open(path, "rb") as file:
        (header_size,) = struct.unpack("<Q", file.read(8))
        header: dict[str, Any] = json.loads(file.read(header_size))
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        offset = 8 + header_size + start
        shape = tuple(entry["shape"])
        if entry["dtype"] in _DTYPES:
            dtype, numpy_type = _DTYPES[entry["dtype"]]
            load = partial(_load_rows, path, offset, math.prod(shape[1:]), np.dtype(numpy_type))
        else:
            dtype = entry["dtype"]
            load = partial(_refuse, path, name, dtype)
        tensors[name] = LazyTensor(name, shape, dtype, load), sample_span(path, offset, end - start)
    return tensors


def _load_rows(
    path: Path, offset: int, row_size: int, dtype: np.dtype[Any], start: int, stop: int
) -> npt.NDArray[Any]:
    row_bytes = row_size * dtype.itemsize
    return read_span(path, offset + start * row_bytes, (stop - start) * row_bytes).view(dtype)


def _refuse(path: Path, name: str, dtype: str, start: int, stop: int) -> npt.NDArray[Any]:
    raise UnsupportedError(
        f"{path.name}: tensor {name} is stored as {dtype}; mlcweb reads F32, F16 and BF16",
        hint="Compile the unquantized checkpoint.",
    )
