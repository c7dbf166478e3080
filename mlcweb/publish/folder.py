"""A target that is a folder: files are written beside their place, synced, and renamed into it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mlcweb.bundle.disk import sync_file, sync_folder, write_all
from mlcweb.bundle.replace import alive
from mlcweb.errors import PublishError
from mlcweb.publish import local_file
from mlcweb.publish.target import ANY, FOREVER, Conflict, Found, LocalFile, Stored

_PART = re.compile(r"\..+\.part-([0-9]+)-[0-9]+")
_STALE_SECONDS = 600
_HINTS = {
    errno.ENOSPC: "Free space there, and publish again: what was written is not sent again.",
    errno.EDQUOT: "The quota is used up. Free space there, and publish again.",
    errno.EACCES: "Check who owns the folder, and who may write there.",
    errno.EPERM: "Check who owns the folder, and who may write there.",
    errno.EROFS: "The file system is read-only: choose another target.",
    errno.ENOTDIR: "Choose a target that is a folder.",
    errno.EEXIST: "Choose a target that is a folder.",
}


class FolderTarget:
    """A folder of this machine, also on a network's drive."""

    workers = 2

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names = itertools.count()
        self._lock = threading.Lock()

    def files(self, folder: str, *, dates: bool = False) -> Mapping[str, Stored]:
        with self._errors(folder):
            try:
                entries = list(os.scandir(self._root / folder))
            except FileNotFoundError:
                return {}
            found: dict[str, Stored] = {}
            for entry in entries:
                if entry.is_file() and not _PART.fullmatch(entry.name):
                    said = entry.stat()
                    found[entry.name] = Stored(
                        said.st_size, datetime.fromtimestamp(said.st_mtime, timezone.utc)
                    )
            return found

    def read(self, key: str, most: int) -> Found | None:
        with self._errors(key):
            try:
                with open(self._root / key, "rb") as file:
                    data = file.read(most + 1)
            except FileNotFoundError:
                return None
        if len(data) > most:
            raise PublishError(f"{self._root / key} has more than {most} bytes")
        return Found(data, hashlib.sha256(data).hexdigest())

    def pieces(self, key: str) -> Iterator[bytes]:
        with self._errors(key), open(self._root / key, "rb", buffering=0) as file:
            while piece := file.read(local_file.PIECE_BYTES):
                yield piece

    def send(self, file: LocalFile, key: str, advance: Callable[[int], None]) -> None:
        with self._errors(key):
            self._write(self._root / key, local_file.pieces(file), advance)

    def put(self, key: str, data: bytes, over: Any = ANY, cache: str = FOREVER) -> None:
        path = self._root / key
        with self._errors(key):
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock, _locked(self._root):
                if over is not ANY:
                    there = self.read(key, 1 << 30)
                    if (there.version if there else None) != over:
                        raise Conflict(key)
                self._write(path, iter((data,)), lambda _: None)

    def remove(self, keys: Collection[str]) -> None:
        for key in keys:
            with self._errors(key):
                (self._root / key).unlink(missing_ok=True)

    def finish(self) -> None:
        """Everything is visible already."""

    def clear_parts(self, folder: str) -> None:
        """Delete what killed publishers left half-written: of processes that are gone, and not touched for a while."""
        with self._errors(folder):
            for path in (self._root / folder).glob(".*.part-*-*"):
                match = _PART.fullmatch(path.name)
                # of a process on another machine the id tells nothing, the time does
                old = time.time() - path.stat().st_mtime > _STALE_SECONDS
                if match and old and not alive(int(match[1])):
                    path.unlink(missing_ok=True)

    def _write(self, path: Path, content: Iterator[bytes], advance: Callable[[int], None]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part-{os.getpid()}-{next(self._names)}")
        try:
            with open(part, "xb", buffering=0) as file:
                for piece in content:
                    write_all(file, piece)
                    advance(len(piece))
                sync_file(file)
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            said = error.strerror or str(error)
            raise PublishError(
                f"{self._root / key}: {said}", hint=_HINTS.get(error.errno or 0, "")
            ) from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Other publishers to this folder wait; the lock ends with its process. Windows has no such lock on folders."""
    if os.name != "posix":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(
            OSError
        ):  # some network drives have no locks; the version is compared anyway
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
