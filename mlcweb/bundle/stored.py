"""Reads tensors back from weight chunks, whole or by rows, across the chunks' ends."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlcweb.bundle.manifest import TensorEntry, Weights
from mlcweb.errors import BundleError

_NUMPY = {"uint32": "<u4", "float16": "<f2", "float32": "<f4"}


class StoredWeights:
    """The tensors of a bundle's weight chunks, finished or still being written. Thread-safe: it holds no file open.

    A read opens the files it needs: unlike a map, a file cut short meanwhile is an error and not a SIGBUS.
    """

    def __init__(self, folder: Path, weights: Weights, chunk_bytes: int) -> None:
        """``chunk_bytes`` is the size of every chunk but the last."""
        self._folder = folder
        self._chunks = weights.chunks
        self._chunk_bytes = chunk_bytes
        self.entries: Mapping[str, TensorEntry] = {tensor.name: tensor for tensor in weights.tensors}

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def shape(self, name: str) -> tuple[int, ...]:
        """The tensor's shape. Raises BundleError when there is no such tensor."""
        return self._entry(name).shape

    def tensor(self, name: str) -> npt.NDArray[Any]:
        """The whole tensor as a new array of its dtype. Raises BundleError when missing or cut short."""
        return self.rows(name, 0, self._entry(name).shape[0])

    def rows(self, name: str, start: int, stop: int) -> npt.NDArray[Any]:
        """Rows ``start`` to ``stop`` along axis 0, as a new array; only their bytes are read.

        Raises BundleError when the tensor is missing or its file is cut short, IndexError outside the shape.
        """
        entry = self._entry(name)
        if not 0 <= start <= stop <= entry.shape[0]:
            raise IndexError(f"rows {start}:{stop} of {name}, which has {entry.shape[0]}")
        out = np.empty((stop - start, *entry.shape[1:]), _NUMPY[entry.dtype])
        row_bytes = entry.bytes // entry.shape[0]
        self._read(entry.offset + start * row_bytes, out.reshape(-1).view(np.uint8).data)
        return out

    def _entry(self, name: str) -> TensorEntry:
        entry = self.entries.get(name)
        if entry is None:
            raise BundleError(f"the bundle has no tensor {name!r}")
        return entry

    def _read(self, offset: int, view: memoryview) -> None:
        while view:
            chunk, start = divmod(offset, self._chunk_bytes)
            part = view[: self._chunk_bytes - start]
            name = self._chunks[chunk]
            try:
                with open(self._folder / name, "rb", buffering=0) as file:
                    file.seek(start)
                    done = 0
                    while done < len(part):
                        got = file.readinto(part[done:])
                        if not got:
                            raise BundleError(f"{name}: ends after {start + done} bytes, in a tensor")
                        done += got
            except OSError as error:
                raise BundleError(f"{name}: cannot be read: {error.strerror}") from error
            view = view[len(part) :]
            offset += len(part)
