"""Streams tensors into weight chunks: it pads them to 16 bytes, cuts at the chunk's size, and hashes on the way."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from mlcweb.bundle.disk import sync_file, write_all
from mlcweb.bundle.manifest import FileEntry, TensorEntry, Weights
from mlcweb.contract.constants import (
    DTYPE_BYTES,
    HASH_DIGITS,
    MAX_CHUNK_BYTES,
    TENSOR_ALIGNMENT,
    TENSOR_DTYPES,
)

_OPEN_NAME = "weights.open"


class WeightsWriter:
    """Writes tensors one after another; use it as a context manager, which closes the last weight chunk.

    Memory does not grow with the model: a weight chunk is a file, and bytes pass through to it.
    """

    def __init__(
        self,
        folder: Path,
        chunk_bytes: int,
        errors: Callable[[], AbstractContextManager[None]],
        on_chunk: Callable[[str, FileEntry], None],
        on_close: Callable[[Weights], None],
    ) -> None:
        if not 0 < chunk_bytes <= MAX_CHUNK_BYTES or chunk_bytes % TENSOR_ALIGNMENT:
            raise ValueError(
                f"chunk_bytes is {chunk_bytes}: a multiple of {TENSOR_ALIGNMENT}, at most {MAX_CHUNK_BYTES}"
            )
        self._folder = folder
        self._chunk_bytes = chunk_bytes
        self._errors = errors
        self._on_chunk = on_chunk
        self._on_close = on_close
        self._file: BinaryIO | None = None
        self._in_chunk = 0
        self._hash = hashlib.sha256()
        self._chunks: list[str] = []
        self._tensors: dict[str, TensorEntry] = {}
        self._current: TensorEntry | None = None
        self._left = 0
        self.offset = 0

    def __enter__(self) -> WeightsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._end_tensor()
                if self._file is not None:
                    with self._errors():
                        self._end_chunk()
                self._on_close(Weights(tuple(self._chunks), self.offset, tuple(self._tensors.values())))
        finally:
            if self._file is not None:
                self._file.close()
                self._file = None

    def begin_tensor(self, name: str, dtype: str, shape: Sequence[int]) -> None:
        """The next tensor; the one before must be complete. dtype: uint32, float16 or float32.

        Raises ValueError for an incomplete predecessor, a repeated name, an unknown dtype or an empty shape.
        """
        self._end_tensor()
        if name in self._tensors:
            raise ValueError(f"the tensor {name} was already written")
        stored_dtype = next((known for known in TENSOR_DTYPES if known == dtype), None)
        if stored_dtype is None:
            raise ValueError(f"{name} has the dtype {dtype}; a bundle holds {', '.join(TENSOR_DTYPES)}")
        size = math.prod(shape) * DTYPE_BYTES[stored_dtype]
        if not shape or size <= 0:
            raise ValueError(f"{name} has the shape {tuple(shape)}, which holds nothing")
        self._current = TensorEntry(name, stored_dtype, tuple(int(n) for n in shape), self.offset, size)
        self._left = size

    def write(self, data: bytes | bytearray | memoryview | npt.NDArray[Any]) -> None:
        """More of the tensor, in row-major order; an array must have the tensor's dtype.

        Raises ValueError for more bytes than the tensor has or an array of another dtype, BundleError when
        the disk is full or refuses.
        """
        if self._current is None:
            raise ValueError("write before begin_tensor")
        if isinstance(data, np.ndarray):
            if data.dtype.name != self._current.dtype:
                raise ValueError(f"{self._current.name} is {self._current.dtype}, the data {data.dtype.name}")
            data = np.ascontiguousarray(data, data.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data
        view = memoryview(data).cast("B")
        if len(view) > self._left:
            raise ValueError(f"{self._current.name} has {self._left} bytes left and got {len(view)}")
        self._left -= len(view)
        with self._errors():
            self._put(view)

    def add_tensor(self, name: str, array: npt.NDArray[Any]) -> None:
        """A whole tensor at once; dtype and shape are the array's."""
        self.begin_tensor(name, array.dtype.name, array.shape)
        self.write(array)

    def _end_tensor(self) -> None:
        if self._current is None:
            return
        if self._left:
            raise ValueError(f"{self._current.name} is short of {self._left} of {self._current.bytes} bytes")
        self._tensors[self._current.name] = self._current
        self._current = None
        with self._errors():
            self._put(memoryview(bytes(-self.offset % TENSOR_ALIGNMENT)))

    def _put(self, view: memoryview) -> None:
        while view:
            if self._file is None:
                self._file = open(self._folder / _OPEN_NAME, "wb", buffering=0)  # noqa: SIM115
                self._hash = hashlib.sha256()
                self._in_chunk = 0
            part = view[: self._chunk_bytes - self._in_chunk]
            write_all(self._file, part)
            self._hash.update(part)
            self._in_chunk += len(part)
            self.offset += len(part)
            view = view[len(part) :]
            if self._in_chunk == self._chunk_bytes:
                self._end_chunk()

    def _end_chunk(self) -> None:
        assert self._file is not None
        sync_file(self._file)
        self._file.close()
        self._file = None
        digest = self._hash.hexdigest()
        name = f"weights-{len(self._chunks):03}.{digest[:HASH_DIGITS]}.bin"
        (self._folder / _OPEN_NAME).rename(self._folder / name)
        self._chunks.append(name)
        self._on_chunk(name, FileEntry(self._in_chunk, digest))
