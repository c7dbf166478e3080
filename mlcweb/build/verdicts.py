"""Remembers which bundles passed validation on this machine, by their manifest's hash."""

from __future__ import annotations

import contextlib
from pathlib import Path

from mlcweb.cache_folder import default_cache_dir
from mlcweb.compile.job import compiler_digest


def passed_before(manifest_sha256: str) -> bool:
    """Whether a bundle with this manifest passed here, for this version of mlcweb."""
    return _path(manifest_sha256).is_file()


def remember(manifest_sha256: str) -> None:
    """Keep that it passed. Where nothing can be written, it is validated again."""
    path = _path(manifest_sha256)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _path(manifest_sha256: str) -> Path:
    return default_cache_dir() / "validated" / compiler_digest()[:16] / manifest_sha256
