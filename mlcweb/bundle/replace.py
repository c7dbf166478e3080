"""Replaces a bundle folder by a finished one: at every moment one whole bundle is on disk.

Beside ``<name>`` live ``.<name>.partial-<pid>``, a bundle being written, and for the moment between two
renames ``.<name>.old-<pid>``, the one being replaced (a rename over a folder with files in it fails).
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from mlcweb.bundle.disk import sync_folder
from mlcweb.contract.constants import MANIFEST_NAME
from mlcweb.errors import BundleError

_OUR_FILE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.[0-9a-f]{8}\.[a-z0-9]+")


def partial_folder(final: Path) -> Path:
    """Where this process builds the bundle that will become ``final``. Raises BundleError for a root."""
    if not final.name:
        raise BundleError(f"{final} cannot be a bundle folder", hint="Choose another output folder.")
    return final.with_name(f".{final.name}.partial-{os.getpid()}")


def old_folder(final: Path) -> Path:
    """Where the bundle that is being replaced waits between the two renames."""
    return final.with_name(f".{final.name}.old-{os.getpid()}")


def check_replaceable(final: Path) -> None:
    """Refuse to replace anything that is not a bundle: its files would be deleted. Raises BundleError."""
    if not final.exists():
        return
    if not final.is_dir():
        raise BundleError(f"{final} is a file, not a folder", hint="Choose another output folder.")
    for entry in sorted(final.iterdir()):
        if entry.is_dir() or not (entry.name == MANIFEST_NAME or _OUR_FILE.fullmatch(entry.name)):
            raise BundleError(
                f"{final} holds {entry.name}, not a bundle's file: writing a bundle there would delete it",
                hint="Move it away, or choose another output folder.",
            )


def recover(final: Path) -> None:
    """Undo what an interrupted process left: put an old bundle back if none is in its place."""
    prefix = re.escape(f".{final.name}.")
    for folder in sorted(final.parent.glob(f".{_glob_escape(final.name)}.*-*")):
        match = re.fullmatch(prefix + r"(partial|old)-([0-9]+)", folder.name)
        if match is None or not folder.is_dir() or alive(int(match[2])):
            continue
        if match[1] == "old" and not final.exists():
            os.rename(folder, final)
        else:
            shutil.rmtree(folder)


def replace(partial: Path, final: Path) -> None:
    """Put ``partial`` in the place of ``final``; on any failure the old bundle is back in place."""
    old = old_folder(final)
    moved = False
    try:
        if final.exists():
            os.rename(final, old)
            moved = True
        os.rename(partial, final)
    except BaseException:
        if moved and not final.exists():
            os.rename(old, final)
        raise
    sync_folder(final.parent)
    shutil.rmtree(old, ignore_errors=True)


def alive(pid: int) -> bool:
    """Whether another process of that id runs. One's own id: an earlier process had it (a container's 1)."""
    if pid == os.getpid():
        return False
    if os.name != "posix":
        return True  # os.kill(pid, 0) would end the process on Windows
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _glob_escape(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)
