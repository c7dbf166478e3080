"""The ``mlcweb`` command: a module per verb, one output sink, one table from error to message."""

from __future__ import annotations


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    from mlcweb.cli.command import run

    return run(argv)
