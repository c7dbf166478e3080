"""Defines what to publish and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal

Verify = Literal["none", "sizes", "full"]
VERIFY: Final[tuple[Verify, ...]] = ("none", "sizes", "full")
GRACE: Final = timedelta(days=7)


@dataclass(frozen=True)
class PublishRequest:
    """``public_url`` is where browsers see the target: files are then read back from there."""

    bundles: tuple[Path, ...]
    target: str
    endpoint_url: str | None = None
    public_url: str | None = None
    catalog: bool = True
    dry_run: bool = False
    prune: bool = False
    grace: timedelta = GRACE
    verify: Verify = "sizes"
    force: bool = False


@dataclass(frozen=True)
class PublishedBundle:
    """Numbers of files and their bytes; ``removed`` are names. In a dry run, what would be."""

    name: str
    folder: str
    sent_files: int
    sent_bytes: int
    there_files: int
    there_bytes: int
    manifest: Literal["sent", "unchanged"]
    manifest_sha256: str
    removed: tuple[str, ...] = ()


@dataclass(frozen=True)
class PublishResult:
    """``catalog`` is None where it was left alone."""

    bundles: tuple[PublishedBundle, ...]
    catalog: Literal["sent", "unchanged"] | None
    seconds: float
