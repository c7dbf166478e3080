"""Reads a GGUF file's header in bulk: key-values, each array in one pass, and where the tensors are.

The gguf library's own ``GGUFReader`` makes several numpy views of every element of an array. For a vocabulary of
262,144 tokens that took 6 s and 250 MB, and it follows counts and lengths that no file can hold. The enums and the
sizes of types are the library's. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from gguf import GGMLQuantizationType, GGUFValueType
from gguf.constants import GGUF_DEFAULT_ALIGNMENT, GGUF_MAGIC

from mlcweb.errors import CheckpointError, UnsupportedError

_VERSIONS = (2, 3)
_SCALARS: dict[GGUFValueType, str] = {
    GGUFValueType.UINT8: "<u1",
    GGUFValueType.INT8: "<i1",
    GGUFValueType.UINT16: "<u2",
    GGUFValueType.INT16: "<i2",
    GGUFValueType.UINT32: "<u4",
    GGUFValueType.INT32: "<i4",
    GGUFValueType.FLOAT32: "<f4",
    GGUFValueType.UINT64: "<u8",
    GGUFValueType.INT64: "<i8",
    GGUFValueType.FLOAT64: "<f8",
    GGUFValueType.BOOL: "?",
}
# A header of the largest vocabularies has 16 MiB and two million elements; these bound what a damaged one costs.
_LARGEST_HEADER = 1 << 26
_MAX_ELEMENTS = 1 << 23
_MAX_ENTRIES = 1 << 16  # key-values, and tensors
_MAX_DIMS = 4  # ggml's
_LONGEST_NAME = 127  # ggml's is 63
_DEEPEST = 4  # arrays in arrays, which the format admits and no known key has
_FIRST_READ = 1 << 20
_U64 = struct.Struct("<Q")
# The fewest bytes: a length each for a key-value's key and a tensor's name, and what always follows it.
_KEY_VALUE_BYTES, _TENSOR_BYTES = 8 + 4 + 1, 8 + 4 + 8 + 4 + 8


@dataclass(frozen=True)
class TensorInfo:
    """A tensor's shape as numpy has it (rows first), its type, and where its bytes start in the file."""

    name: str
    shape: tuple[int, ...]
    kind: GGMLQuantizationType
    offset: int


def read_header(path: Path) -> tuple[dict[str, Any], list[TensorInfo]]:
    """The metadata (strings, numbers, lists) and the tensors of a file.

    Only the header is read, and nothing that a count or length in it claims is allocated before it is known to be
    there. Raises CheckpointError for a damaged header, UnsupportedError for big-endian files and for tensor types
    that the gguf library does not know.
    """
    try:
        with open(path, "rb") as file:
            return _Header(file, path.stat().st_size).parse()
    except UnsupportedError as error:
        raise UnsupportedError(f"{path}: {error.message}", hint=error.hint) from error
    except (ValueError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a complete GGUF file: {error}",
            hint="An interrupted download leaves such a file; fetch it again.",
        ) from error


class _Header:
    """A cursor over the start of a file, of which it holds as much as was asked for. Raises ValueError."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self._data, self._at = b"", 0
        self._elements_left = _MAX_ELEMENTS

    def parse(self) -> tuple[dict[str, Any], list[TensorInfo]]:
        if self._number("<u4") != GGUF_MAGIC:
            raise ValueError("it does not start with GGUF")
        version = self._number("<u4")
        if version not in _VERSIONS:
            if int.from_bytes(version.to_bytes(4, "little"), "big") in _VERSIONS:
                raise UnsupportedError("is a big-endian GGUF file", hint="Use a little-endian one.")
            raise ValueError(f"it is of version {version}; 2 and 3 are known")
        tensors = self._count("tensors", _TENSOR_BYTES)
        metadata = self._read_metadata(self._count("key-values", _KEY_VALUE_BYTES))
        infos = [self._tensor() for _ in range(tensors)]
        if len({info.name for info in infos}) != len(infos):
            raise ValueError("two of its tensors have one name")
        alignment = metadata.get("general.alignment", GGUF_DEFAULT_ALIGNMENT)
        if type(alignment) is not int or alignment <= 0 or alignment & (alignment - 1):
            raise ValueError(f"general.alignment is {describe(alignment)}, not a power of two")
        start = -(-self._at // alignment) * alignment
        return metadata, [TensorInfo(i.name, i.shape, i.kind, start + i.offset) for i in infos]

    def _read_metadata(self, count: int) -> dict[str, Any]:
        metadata: dict[str, Any] = {}
        for _ in range(count):
            key = self._strings(1)[0]
            if key in metadata:
                raise ValueError(f"its metadata has {describe(key)} twice")
            try:
                metadata[key] = self._value(self._number("<u4"))
            except UnicodeDecodeError as error:
                raise ValueError(f"{describe(key)} is not UTF-8") from error
        return metadata

    def _value(self, raw_kind: int, depth: int = 0) -> Any:
        kind = GGUFValueType(raw_kind)
        if kind == GGUFValueType.STRING:
            return self._strings(1)[0]
        if kind != GGUFValueType.ARRAY:
            return self._number(_SCALARS[kind])
        if depth == _DEEPEST:
            raise ValueError("its metadata has arrays in arrays in arrays")
        item, count = self._number("<u4"), self._number("<u8")
        kind = GGUFValueType(item)
        # the fewest bytes of a string are its length, of an array its type and its length
        smallest = {GGUFValueType.STRING: 8, GGUFValueType.ARRAY: 12}.get(kind, 1)
        if count > (self._size - self._at) // smallest:
            raise ValueError(
                f"ends inside the header, at offset {self._at}: an array claims {count} elements"
            )
        if count > self._elements_left:
            raise ValueError(f"its arrays have more than {_MAX_ELEMENTS} elements")
        self._elements_left -= count
        if kind == GGUFValueType.STRING:
            return self._strings(count)
        if kind == GGUFValueType.ARRAY:
            return [self._value(item, depth + 1) for _ in range(count)]
        dtype = np.dtype(_SCALARS[kind])
        start = self._take(count * dtype.itemsize)
        return np.frombuffer(self._data, dtype, count, start).tolist()

    def _tensor(self) -> TensorInfo:
        """With its offset as stored, from the end of the header."""
        name = self._strings(1)[0]
        if len(name) > _LONGEST_NAME:
            raise ValueError(f"a tensor's name has {len(name)} characters")
        dims = self._number("<u4")
        if not 0 < dims <= _MAX_DIMS:
            raise ValueError(f"the tensor {name} has {dims} dimensions")
        shape = struct.unpack_from(f"<{dims}Q", self._data, self._take(8 * dims))
        if 0 in shape:
            raise ValueError(f"the tensor {name} is empty")
        number = self._number("<u4")
        try:
            kind = GGMLQuantizationType(number)
        except ValueError:
            raise UnsupportedError(
                f"the tensor {name} is of GGML's type {number}, which the gguf library does not know",
                hint="A newer gguf package may know it: pip install --upgrade gguf.",
            ) from None
        return TensorInfo(name, shape[::-1], kind, self._number("<u8"))

    def _count(self, what: str, smallest: int) -> int:
        """A number of entries, which must fit in the rest of the file."""
        count: int = self._number("<u8")
        if count > min(_MAX_ENTRIES, (self._size - self._at) // smallest):
            raise ValueError(f"ends inside the header, which claims {count} {what}")
        return count

    def _number(self, dtype: str) -> Any:
        kind = np.dtype(dtype)
        start = self._take(kind.itemsize)
        return np.frombuffer(self._data, kind, 1, start)[0].item()

    def _strings(self, count: int) -> list[str]:
        """Each is a length and that many bytes, so the next one's place is known only from the one before."""
        data, at, strings = self._data, self._at, []
        for _ in range(count):
            if at + 8 > len(data):
                data = self._fill(at, at + 8)
            start, (length,) = at + 8, _U64.unpack_from(data, at)
            at = start + length
            if at > len(data):
                data = self._fill(start, at)
            strings.append(data[start:at].decode())
        self._at = at
        return strings

    def _take(self, count: int) -> int:
        """Where the next ``count`` bytes start in ``_data``, which has them."""
        start, self._at = self._at, self._at + count
        if self._at > len(self._data):
            self._fill(start, self._at)
        return start

    def _fill(self, start: int, end: int) -> bytes:
        """``_data`` with all bytes before ``end``, where something starts that lies at ``start``."""
        if end > self._size:
            raise ValueError(f"ends inside the header, at offset {start}")
        if end > _LARGEST_HEADER:
            raise ValueError(f"its header is larger than {_LARGEST_HEADER >> 20} MiB")
        # twice as much each time, so that bytes are copied once on average
        target = min(max(end, 2 * len(self._data), _FIRST_READ), self._size, _LARGEST_HEADER)
        self._data += self._file.read(target - len(self._data))
        if end > len(self._data):
            raise ValueError(f"ends inside the header, at offset {start}: it became shorter")
        return self._data


def describe(value: Any) -> str:
    """A name or value of the file for a message, short: it may be as long as the file is."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = repr(value[:64] if isinstance(value, str) else value)
    return text if len(text) <= 64 else f"{text[:60]}…"
