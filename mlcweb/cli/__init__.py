"""The ``mlcweb`` command has a module for each verb, one output sink, and one table from errors to messages."""

from __future__ import annotations

import os


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    # OpenBLAS's threads spin between products, at three times the work of the products themselves: ours share them out
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from mlcweb.cli.command import run

    return run(argv)
