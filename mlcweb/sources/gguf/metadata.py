"""Reads a GGUF file's metadata by the keys of its architecture, with errors that name them."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlcweb.errors import CheckpointError
from mlcweb.sources.gguf.file import GgufFile

_REQUIRED: Any = object()
_LARGEST_FLOAT = float(np.finfo(np.float32).max)


class Metadata:
    """Keys without their prefix: ``block_count`` is ``llama.block_count`` in a file of architecture ``llama``.

    Every reader raises CheckpointError for a value that is missing and has no default, or is of another type.
    """

    def __init__(self, file: GgufFile) -> None:
        self.file = file
        self.architecture: str = file.require("general.architecture", str)

    def has(self, key: str) -> bool:
        return f"{self.architecture}.{key}" in self.file.metadata

    def get(self, key: str, kind: type | tuple[type, ...], default: Any = _REQUIRED) -> Any:
        """A value of the type ``kind``."""
        if default is not _REQUIRED and not self.has(key):
            return default
        return self.file.require(f"{self.architecture}.{key}", kind)

    def count(self, key: str, default: Any = _REQUIRED) -> Any:
        """A positive integer."""
        value = self.get(key, int, default)
        if self.has(key) and value <= 0:
            raise CheckpointError(
                f"{self.file.path}: {self.architecture}.{key} is {value}, which no model has"
            )
        return value

    def number(self, key: str, default: Any = _REQUIRED) -> Any:
        """A finite float, as it was before it was stored in 32 bits."""
        value = self.get(key, (int, float), default)
        if isinstance(value, float) and not abs(value) <= _LARGEST_FLOAT:
            raise CheckpointError(f"{self.file.path}: {self.architecture}.{key} is {value}")
        return without_noise(value) if isinstance(value, (int, float)) else value

    def positive(self, key: str, default: Any = _REQUIRED) -> Any:
        """A finite float above 0."""
        value = self.number(key, default)
        if value is not None and value <= 0:
            raise CheckpointError(
                f"{self.file.path}: {self.architecture}.{key} is {value}, which no model has"
            )
        return value

    def has_tensor(self, name: str) -> bool:
        return name in self.file.tensors


def without_noise(value: float) -> float:
    """The shortest decimal that is this float32: 9.999999747378752e-06 was written as 1e-05."""
    return float(np.format_float_positional(np.float32(value), unique=True))
