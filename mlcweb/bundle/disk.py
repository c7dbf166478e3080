"""Writes a bundle's files to disk: every byte or an error, one message for a full disk, fsync."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mlcweb.errors import BundleError

_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}


@contextmanager
def bundle_errors(folder: Path, expected_bytes: int, written_bytes: int) -> Iterator[None]:
    """Turns OSError into BundleError; ``expected_bytes`` is what the bundle takes, 0 when unknown."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            if expected_bytes > written_bytes:
                needs = f"about {expected_bytes // 1_000_000 + 1} MB"
            else:
                needs = f"more than {written_bytes // 1_000_000 + 1} MB"
            raise BundleError(
                f"disk full while writing {folder}: the bundle needs {needs}",
                hint="Free space there, or choose another output folder.",
            ) from error
        raise BundleError(f"cannot write {folder}: {error.strerror or error}") from error


def write_all(file: BinaryIO, data: bytes | memoryview) -> None:
    """Write every byte to an unbuffered file: a raw write may take fewer than it was given."""
    view = memoryview(data)
    while view:
        written = file.write(view)
        view = view[written:]


def sync_file(file: BinaryIO) -> None:
    """Make a file's content survive a power cut."""
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut; where folders cannot be opened (Windows), nothing."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
