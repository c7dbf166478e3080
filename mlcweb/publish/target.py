"""Defines what a target does: it lists, reads and keeps files, and replaces one in a single step."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

from mlcweb.bundle import FileEntry
from mlcweb.errors import MlcwebError

FOREVER: Final = "public, max-age=31536000, immutable"
ASK_FIRST: Final = "no-cache"
_TYPES = {"json": "application/json", "wasm": "application/wasm", "wgsl": "text/wgsl; charset=utf-8"}


def content_type(name: str) -> str:
    """What a web server says of a bundle's file."""
    return _TYPES.get(name.rpartition(".")[2], "application/octet-stream")


@dataclass(frozen=True)
class LocalFile:
    """A file of a bundle on this machine, and what its manifest says of it."""

    path: Path
    name: str
    entry: FileEntry


@dataclass(frozen=True)
class Stored:
    """A file at the target. ``modified`` is when it was written, where that was asked for."""

    bytes: int
    modified: datetime | None


@dataclass(frozen=True)
class Found:
    """A small file's content, and the version of it that a later ``put`` may insist on."""

    data: bytes
    version: Any


class Conflict(Exception):
    """Another publisher changed the file since its version was read."""


class _Any:
    """A ``put`` over whatever is there."""


ANY: Final = _Any()


class Target(Protocol):
    """A place that holds files under keys, ``folder/name``. What it raises is PublishError, or Conflict from ``put``
    and ``finish``. Its methods may be called by several threads."""

    workers: int
    """How many files to send at a time."""

    def files(self, folder: str, *, dates: bool = False) -> Mapping[str, Stored]:
        """The files right in a folder by their names, whole ones only; none where there is no such folder."""

    def read(self, key: str, most: int) -> Found | None:
        """A file's content, None where there is none. Raises PublishError for one of more than ``most`` bytes."""

    def pieces(self, key: str) -> Iterator[bytes]:
        """A file's content, a piece at a time."""

    def send(self, file: LocalFile, key: str, advance: Callable[[int], None]) -> None:
        """Put a bundle's file there, whole or not at all, and check its sha256 on the way."""

    def put(self, key: str, data: bytes, over: Any = ANY, cache: str = FOREVER) -> None:
        """Put a small file there in one step. ``over``: the version that it must replace, None for no file.

        Raises Conflict where another is there.
        """

    def remove(self, keys: Collection[str]) -> None:
        """Delete files; one that is gone already is no error."""

    def finish(self) -> None:
        """Make what was sent and put visible, where the target collects it. Raises Conflict as ``put`` does."""


class SourceChanged(MlcwebError):
    """A file of the bundle is not what its manifest says."""

    code = "bundle"


def changed(file: LocalFile, what: str) -> SourceChanged:
    """The error for a file whose size or content differs from its manifest's."""
    return SourceChanged(
        f"{file.path}: {what}", hint="The bundle is damaged or incomplete: compile or download it again."
    )
