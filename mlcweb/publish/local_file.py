"""Reads a bundle's files for sending, and refuses those that differ from the manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from mlcweb.errors import PublishError
from mlcweb.publish.target import LocalFile, changed

PIECE_BYTES = 1 << 20


def whole(file: LocalFile) -> bytes:
    """The file's content. Raises SourceChanged where its size or sha256 is not the manifest's."""
    try:
        with open(file.path, "rb", buffering=0) as opened:
            data = opened.read(file.entry.bytes + 1)
    except OSError as error:
        raise PublishError(f"{file.path}: cannot be read: {error.strerror}") from error
    _check(file, len(data), hashlib.sha256(data).hexdigest())
    return data


def pieces(file: LocalFile) -> Iterator[bytes]:
    """The file's content, a piece at a time. Raises SourceChanged, at its end at the latest."""
    digest, done = hashlib.sha256(), 0
    try:
        with open(file.path, "rb", buffering=0) as opened:
            while piece := opened.read(PIECE_BYTES):
                digest.update(piece)
                done += len(piece)
                if done > file.entry.bytes:
                    break
                yield piece
    except OSError as error:
        raise PublishError(f"{file.path}: cannot be read: {error.strerror}") from error
    _check(file, done, digest.hexdigest())


def _check(file: LocalFile, size: int, sha256: str) -> None:
    if size != file.entry.bytes:
        said = f"{size} bytes" if size < file.entry.bytes else "more bytes"
        raise changed(file, f"{said}, the manifest says {file.entry.bytes}")
    if sha256 != file.entry.sha256:
        raise changed(file, "its content differs from the manifest's sha256")
