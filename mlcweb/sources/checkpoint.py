"""Defines the checkpoint, which every source becomes: a config, tokenizer files and lazily read tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlcweb.errors import CheckpointError

if TYPE_CHECKING:
    from mlcweb.sources.preprocessor import Preprocessor
    from mlcweb.sources.sentence_transformers import SentenceModel

FLOAT_DTYPES = ("float32", "float16", "bfloat16")

# Enough bytes from the middle of a tensor to tell two trainings of one architecture apart.
SAMPLE_BYTES = 64


@dataclass(frozen=True)
class GgufBlocks:
    """A tensor in the blocks of its GGUF file: ``kind`` is GGUF's name of the type.

    ``load_rows`` gives the bytes of rows ``start`` to ``stop``, uint8 ``[stop - start, bytes of a row]``.
    ``transposed``: rows are the tensor's columns. ``nbytes`` is all of it.
    """

    kind: str
    nbytes: int
    load_rows: Callable[[int, int], npt.NDArray[np.uint8]] = field(repr=False, compare=False)
    transposed: bool = False


@dataclass(frozen=True)
class LazyTensor:
    """One named tensor that stays on disk until read.

    ``dtype`` is what ``read`` returns: ``float32``, ``float16`` or ``bfloat16`` (as ml_dtypes.bfloat16);
    any other name is a stored type that mlcweb does not use, and reading it raises UnsupportedError.
    ``gguf_blocks``: what ``read`` dequantizes, of a tensor that a GGUF file has.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    load_rows: Callable[[int, int], npt.NDArray[Any]] = field(repr=False, compare=False)
    gguf_blocks: GgufBlocks | None = field(default=None, repr=False, compare=False)

    def read(self, rows: slice | None = None) -> npt.NDArray[Any]:
        """The rows ``rows`` (all without it) along axis 0, as a new array; only they are read. Thread-safe.

        Raises CheckpointError when the file ends early, ValueError for a slice with a step.
        """
        if not self.shape:
            return self.load_rows(0, 1).reshape(())
        start, stop, step = (rows or slice(None)).indices(self.shape[0])
        if step != 1:
            raise ValueError(f"rows of {self.name}: only contiguous slices can be read, not step {step}")
        stop = max(start, stop)
        return self.load_rows(start, stop).reshape(stop - start, *self.shape[1:])


@dataclass(frozen=True)
class Checkpoint:
    """A model as it was published: Hugging Face config keys and tensor names, whatever the source was.

    ``tokenizer_files`` holds ``tokenizer.json`` and ``tokenizer_config.json`` (with the chat template
    inside), and ``generation_config.json``, ``special_tokens_map.json`` where the source has them.
    ``source`` is recorded in the bundle and names no path of this machine. ``fingerprint`` (sha256, hex)
    identifies the content cheaply: configs, tensor headers, sizes, the commit, and a few bytes of each
    tensor.
    """

    config: dict[str, Any]
    tensors: Mapping[str, LazyTensor]
    tokenizer_files: dict[str, bytes]
    eos_token_ids: tuple[int, ...]
    source: dict[str, str]
    fingerprint: str
    licence: str = ""  # as the source states it, such as "apache-2.0"
    sentence: SentenceModel | None = None  # what sentence-transformers saved beside the model
    preprocessor: Preprocessor | None = None  # of a model that sees, what is done to its pictures


def read_span(path: Path, offset: int, size: int) -> npt.NDArray[np.uint8]:
    """``size`` bytes of a file from ``offset``, as a new uint8 array. Raises CheckpointError if there are
    fewer.

    A file handle per call: threads share none, and unlike a map, a file cut short is an error and not a
    SIGBUS.
    """
    out = np.empty(size, np.uint8)
    view = memoryview(out.data)
    done = 0
    try:
        with open(path, "rb", buffering=0) as file:
            file.seek(offset)
            while done < size:
                got = file.readinto(view[done:])
                if not got:
                    raise CheckpointError(
                        f"{path}: ends at {done} of {size} bytes read from offset {offset}",
                        hint="The file changed or was cut short; fetch it again.",
                    )
                done += got
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    return out


def sample_span(path: Path, offset: int, size: int) -> bytes:
    """A few bytes from the middle of a tensor, for the fingerprint."""
    length = min(size, SAMPLE_BYTES)
    return read_span(path, offset + (size - length) // 2, length).tobytes()


def compute_fingerprint(
    config: Mapping[str, Any],
    tokenizer_files: Mapping[str, bytes],
    tensors: Iterable[tuple[str, tuple[int, ...], str, bytes]],
    *,
    commit: str = "",
) -> str:
    """sha256 (hex) over config, tokenizer files, commit, and each tensor's name, shape, dtype and sample."""
    digest = hashlib.sha256()
    digest.update(json.dumps([config, commit], sort_keys=True).encode())
    for name in sorted(tokenizer_files):
        digest.update(f"{name} {len(tokenizer_files[name])} ".encode() + tokenizer_files[name])
    for tensor in sorted(tensors):
        digest.update(repr(tensor).encode())
    return digest.hexdigest()
