"""Logs what ``MLCWEB_DEBUG`` asks for, on stderr: stages, the compiler's choices, kernels and code.

1 is the stages with their times; 2 also what was chosen and why; 3 also each kernel as it is lowered; 4 also each
kernel's WGSL and each launch. All loggers are in the tree ``mlcweb``, so a program that uses mlcweb as a library
attaches a handler of its own to that name instead.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mlcweb.errors import UnsupportedError

VARIABLE = "MLCWEB_DEBUG"
ROOT = "mlcweb"

STAGE, CHOICE, KERNEL, CODE = 25, 20, 15, 10  # logging's numbers: a warning is 30
_LEVELS = {0: logging.NOTSET, 1: STAGE, 2: CHOICE, 3: KERNEL, 4: CODE}
for _name, _number in (("STAGE", STAGE), ("KERNEL", KERNEL), ("CODE", CODE)):
    logging.addLevelName(_number, _name)


def logger(name: str) -> logging.Logger:
    """The logger ``mlcweb.<name>``. Where arguments take work, ask ``isEnabledFor`` first."""
    return logging.getLogger(f"{ROOT}.{name}")


def debug_level() -> int:
    """What ``MLCWEB_DEBUG`` says, 0 where it says nothing. Raises UnsupportedError for what is no level."""
    value = os.environ.get(VARIABLE, "").strip()
    if value not in ("", *map(str, _LEVELS)):
        raise UnsupportedError(
            f"{VARIABLE}={value!r} is not a level",
            hint="Give 1 (stages), 2 (choices), 3 (kernels) or 4 (their code).",
        )
    return int(value or 0)


def log_to_stderr() -> None:
    """Log what ``MLCWEB_DEBUG`` asks for. Raises UnsupportedError."""
    level = debug_level()
    root = logging.getLogger(ROOT)
    for handler in [h for h in root.handlers if isinstance(h, _Stderr)]:
        root.removeHandler(handler)
    root.setLevel(_LEVELS[level])
    if level:
        root.addHandler(_Stderr())


@contextmanager
def logged_stage(log: logging.Logger, name: str) -> Iterator[None]:
    """Log a stage's seconds when it ends, whether it ends well or not."""
    start = time.monotonic()
    failed = True
    try:
        yield
        failed = False
    finally:
        log.log(STAGE, "%s: %.3f s%s", name, time.monotonic() - start, ", failed" if failed else "")


class _Stderr(logging.Handler):
    """A line of the program's seconds, the logger and the message, on whatever stderr is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        seconds = record.relativeCreated / 1000
        print(f"{seconds:8.3f} {record.name}: {record.getMessage()}", file=sys.stderr, flush=True)
