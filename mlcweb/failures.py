"""Turns an error into words: what happened, and what to do next."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from mlcweb.errors import MlcwebError

INTERRUPTED = 130


@dataclass(frozen=True)
class Failure:
    """What the user is told."""

    code: str
    message: str
    hint: str = ""
    exit_code: int = 1


OS_ERRORS = {
    errno.ENOSPC: (
        "disk-full",
        "the disk is full",
        "free some space, or write elsewhere with --out; then run it again",
    ),
    errno.EDQUOT: (
        "disk-full",
        "the disk quota is used up",
        "free some space, or write elsewhere with --out",
    ),
    errno.EACCES: ("permission", "permission denied", "check who owns the path"),
    errno.EROFS: ("permission", "the file system is read-only", "write elsewhere with --out"),
    errno.ENOENT: ("not-found", "no such file or folder", "check the path"),
    errno.EMFILE: ("too-many-files", "too many open files", "raise the limit with `ulimit -n 4096`"),
}


def explain(error: BaseException) -> Failure:
    """One row for each kind of error; what is in no row is a defect of ours."""
    if isinstance(error, MlcwebError):
        return Failure(error.code, error.message, error.hint)
    if isinstance(error, KeyboardInterrupt):
        return Failure("interrupted", "interrupted", "", INTERRUPTED)
    if isinstance(error, OSError) and error.errno in OS_ERRORS:
        code, message, hint = OS_ERRORS[error.errno]
        return Failure(code, f"{message}: {error.filename}" if error.filename else message, hint)
    if isinstance(error, MemoryError):
        return Failure("memory", "out of memory", "close other programs, or use a machine with more memory")
    if isinstance(error, ModuleNotFoundError):
        return Failure("install", f"Python package missing: {error.name}", "run `pip install mlcweb` again")
    said = str(error).strip().splitlines()
    summary = f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
    return Failure("unexpected", summary, "run again with --debug for the traceback")
