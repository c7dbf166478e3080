"""Keeps lowered kernels and whole tiers on disk, each under the hash of what it was made of.

An entry is a file named by the sha256 of its key; its first line is the sha256 of the rest, so one that is damaged
counts as absent. Nothing here fails a compile: a folder that cannot be read or written only saves nothing.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mlcweb.cache_folder import default_cache_dir

VARIABLE = "MLCWEB_KERNEL_CACHE"
MAX_BYTES = 256 << 20
_STALE_SECONDS = 3600.0  # a temporary file that old belongs to a process that was killed


@functools.cache
def source_digest(*folders: str) -> str:
    """sha256 of TVM's version and of the sources in these packages of mlcweb, which is what a key must name."""
    digest = hashlib.sha256(json.dumps([version("apache-tvm"), version("apache-tvm-ffi")]).encode())
    root = Path(__file__).parent
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class KernelCache:
    """JSON values by JSON keys in ``folder``, which has about ``max_bytes`` at most once ``prune`` was called."""

    folder: Path
    max_bytes: int = MAX_BYTES

    def read(self, key: Any) -> Any | None:
        """The value, or None; that it was read is noted, since ``prune`` removes what was used longest ago."""
        path = self._path(key)
        try:
            digest, _, data = path.read_bytes().partition(b"\n")
            if digest.decode("ascii", "replace") != hashlib.sha256(data).hexdigest():
                return None
            with contextlib.suppress(OSError):
                os.utime(path)
            return json.loads(data)
        except (OSError, ValueError):
            return None

    def write(self, key: Any, value: Any) -> None:
        """Keep ``value``. Appears whole or not at all, also beside other processes."""
        data = json.dumps(value, separators=(",", ":")).encode()
        path, partial = self._path(key), None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=".")
            with os.fdopen(descriptor, "wb") as file:
                file.write(hashlib.sha256(data).hexdigest().encode() + b"\n" + data)
            os.replace(partial, path)
        except OSError:
            if partial is not None:
                with contextlib.suppress(OSError):
                    os.unlink(partial)

    def size(self) -> tuple[int, int]:
        """Entries, and their bytes."""
        sizes = [size for _, size, path in self._files() if not path.name.startswith(".")]
        return len(sizes), sum(sizes)

    def prune(self) -> None:
        """Remove what was used longest ago until ``max_bytes`` suffice, and what killed processes left."""
        total = 0
        for used, size, path in sorted(self._files(), reverse=True):
            total += size
            stale = path.name.startswith(".") and used < time.time() - _STALE_SECONDS
            if total > self.max_bytes or stale:
                with contextlib.suppress(OSError):
                    path.unlink()

    def _path(self, key: Any) -> Path:
        name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self.folder / name[:2] / name[2:]

    def _files(self) -> list[tuple[float, int, Path]]:
        """Time of last use, bytes and path of each file."""
        files = []
        with contextlib.suppress(OSError):
            for path in self.folder.glob("??/*"):
                with contextlib.suppress(OSError):  # another process may have pruned it
                    facts = path.stat()
                    files.append((facts.st_mtime, facts.st_size, path))
        return files


def open_cache() -> KernelCache | None:
    """The cache in ``$MLCWEB_KERNEL_CACHE``, by default ``kernels`` beside downloads; None where that is empty."""
    named = os.environ.get(VARIABLE)
    if named is None:
        return KernelCache(default_cache_dir() / "kernels")
    return KernelCache(Path(named).expanduser()) if named.strip() else None
