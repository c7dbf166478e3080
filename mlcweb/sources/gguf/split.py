"""Finds the files of a model that ``llama-gguf-split`` has split: ``NAME-00001-of-00003.gguf`` and so on.

The first part has the metadata, each has some of the tensors, and ``split.no``, ``split.count`` and
``split.tensors.count`` say which part it is, of how many, and how many tensors all have:
https://github.com/ggml-org/llama.cpp/tree/master/tools/gguf-split
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mlcweb.errors import CheckpointError, SourceError
from mlcweb.sources.gguf.file import GgufFile, read_gguf
from mlcweb.sources.gguf.reader import describe

_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")
_TOGETHER = "All parts of a model lie in one folder, under the names that they were published with."


def whole_name(name: str) -> str:
    """What all parts of one model share: ``NAME-*-of-00003.gguf``; the name itself of any other file."""
    return _PART.sub(r"\1-*-of-\3.gguf", name)


def read_model(path: Path) -> tuple[GgufFile, str]:
    """The file, or the model whose part it is as one file, and the model's name: ``NAME.gguf``.

    Raises SourceError for a part that is missing, CheckpointError for one that is damaged or another model's.
    """
    file = read_gguf(path)
    count = _split_number(file, "split.count", 1)
    if count <= 1:
        return file, path.name
    match = _PART.fullmatch(path.name)
    if match is None or int(match[3]) != count:
        raise CheckpointError(
            f"{path}: is one of {count} parts of a model, and its name does not say which of how many",
            hint=f"They are named {path.stem}-00001-of-{count:05}.gguf and so on.",
        )
    parts = [path.with_name(f"{match[1]}-{i + 1:05}-of-{count:05}.gguf") for i in range(count)]
    missing = next((part for part in parts if not part.is_file()), None)
    if missing is not None:
        raise SourceError(
            f"{missing}: no such file, which is a part of the same model as {path.name}", hint=_TOGETHER
        )
    return _join([file if part == path else read_gguf(part) for part in parts]), f"{match[1]}.gguf"


def _join(files: list[GgufFile]) -> GgufFile:
    first = files[0]
    tensors = dict(first.tensors)
    for i, file in enumerate(files):
        _check_part(first, file, i, len(files))
        twice = next((name for name in file.tensors if i and name in tensors), None)
        if twice is not None:
            raise CheckpointError(
                f"{file.path}: has the tensor {twice}, which a part before it has too",
                hint=_TOGETHER,
            )
        tensors |= file.tensors
    total = _split_number(first, "split.tensors.count", len(tensors))
    if total != len(tensors):
        raise CheckpointError(
            f"{first.path}: says that its {len(files)} parts have {total} tensors; they have {len(tensors)}",
            hint=_TOGETHER,
        )
    return GgufFile(first.path, first.metadata, tensors)


def _check_part(first: GgufFile, file: GgufFile, number: int, count: int) -> None:
    """That a file is what its name says, and of the same model as the first."""
    expected: dict[str, Any] = {"split.no": number, "split.count": count}
    # Parts after the first need not say these, but where they do, they say the same.
    expected |= {
        key: first.metadata.get(key)
        for key in ("split.tensors.count", "general.architecture")
        if key in file.metadata
    }
    for key, value in expected.items():
        if file.metadata.get(key) != value:
            raise CheckpointError(
                f"{file.path}: is another model's, or another part: its {key} is "
                f"{describe(file.metadata.get(key))}, not {describe(value)}",
                hint=_TOGETHER,
            )


def _split_number(file: GgufFile, key: str, default: int) -> int:
    number: int = file.require(key, int) if key in file.metadata else default
    return number
