"""Counts the processor cores that this process may use."""

from __future__ import annotations

import os

VARIABLE = "MLCWEB_CORES"


def cores() -> int:
    """The cores that the system gives this process, at most ``$MLCWEB_CORES`` of them."""
    given = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    said = os.environ.get(VARIABLE, "")
    return max(1, min(given, int(said))) if said.isdigit() else given
