"""A GGUF file taken apart and put together again, so that tests can make files that no writer makes."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Any

import gguf
import numpy as np
from gguf import GGUFValueType as Value


def encode(value: Any) -> bytes:
    """A key's type and value: a string, an int (UINT32), or a list of strings, ints (INT32) or floats (FLOAT32)."""
    if isinstance(value, str):
        return struct.pack("<I", Value.STRING) + _string(value)
    if isinstance(value, int):
        return struct.pack("<II", Value.UINT32, value)
    kind = {str: Value.STRING, int: Value.INT32, float: Value.FLOAT32}[type(value[0])]
    head = struct.pack("<IIQ", Value.ARRAY, kind, len(value))
    if kind == Value.STRING:
        return head + b"".join(map(_string, value))
    return head + struct.pack(f"<{len(value)}{'i' if kind == Value.INT32 else 'f'}", *value)


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


@dataclass(frozen=True)
class Layout:
    """A file taken apart: key-values as their bytes after the key, tensors as theirs after the name, and the data."""

    values: list[tuple[bytes, bytes]]
    tensors: list[tuple[bytes, bytes]]
    data: bytes

    @classmethod
    def read(cls, content: bytes) -> Layout:
        tensors, values = struct.unpack_from("<QQ", content, 8)
        at, found = 24, ([], [])
        for i in range(values + tensors):
            start = at + 8 + struct.unpack_from("<Q", content, at)[0]
            key = content[at + 8 : start]
            at = start + (_value_size(content, start) if i < values else _tensor_size(content, start))
            found[i >= values].append((key, content[start:at]))
        return cls(*found, content[-(-at // 32) * 32 :])

    def with_tokenizer(self, metadata: dict[str, Any]) -> Layout:
        """With these keys in the place of its ``tokenizer.*``."""
        kept = [(key, raw) for key, raw in self.values if not key.startswith(b"tokenizer.")]
        return replace(
            self, values=[*kept, *((key.encode(), encode(value)) for key, value in metadata.items())]
        )

    def write(self) -> bytes:
        head = b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.values))
        head += b"".join(
            struct.pack("<Q", len(key)) + key + raw for key, raw in (*self.values, *self.tensors)
        )
        return head + bytes(-len(head) % 32) + self.data


def _value_size(content: bytes, at: int) -> int:
    kind = Value(struct.unpack_from("<I", content, at)[0])
    if kind == Value.STRING:
        return 12 + int(struct.unpack_from("<Q", content, at + 4)[0])
    if kind != Value.ARRAY:
        return 4 + np.dtype(gguf.GGUFReader.gguf_scalar_to_np[kind]).itemsize
    item, count = struct.unpack_from("<IQ", content, at + 4)
    if item != Value.STRING:
        return 16 + count * np.dtype(gguf.GGUFReader.gguf_scalar_to_np[Value(item)]).itemsize
    end = at + 16
    for _ in range(count):
        end += 8 + struct.unpack_from("<Q", content, end)[0]
    return end - at


def _tensor_size(content: bytes, at: int) -> int:
    return 4 + 8 * int(struct.unpack_from("<I", content, at)[0]) + 12
