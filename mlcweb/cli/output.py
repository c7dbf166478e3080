"""Prints everything that the command line says: data to stdout, all else to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from mlcweb.debug import debug_level
from mlcweb.progress import Progress


class Output:
    """The one sink. In JSON mode stdout gets exactly one document, whether the command succeeds or not."""

    def __init__(self, *, as_json: bool = False, debug: bool = False) -> None:
        self.as_json = as_json
        self.debug = debug
        self.answered = False

    @classmethod
    def for_args(cls, args: Sequence[str]) -> Output:
        """The sink for arguments not parsed yet: usage errors too must come out as JSON when asked for."""
        pairs = zip(args, [*args[1:], ""], strict=True)
        as_json = any(
            arg == "--format=json" or (arg == "--format" and value == "json") for arg, value in pairs
        )
        return cls(as_json=as_json, debug="--debug" in args)

    def data(self, document: Mapping[str, Any], text: Callable[[], None] | None = None) -> None:
        """The command's answer: the document in JSON mode, else what ``text`` prints through this sink."""
        self.answered = True
        if self.as_json:
            click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        elif text is not None:
            text()

    def ready(self, document: Mapping[str, Any]) -> None:
        """In JSON mode, the document of a command that goes on: one line, so that its reader knows the end."""
        self.answered = True
        if self.as_json:
            click.echo(json.dumps(document, ensure_ascii=False))
            sys.stdout.flush()

    def line(self, text: str = "") -> None:
        """A line of the answer, in text mode."""
        if not self.as_json:
            click.echo(text)

    def stream(self, text: str) -> None:
        """A piece of a line of the answer, shown at once, in text mode."""
        if not self.as_json:
            click.echo(text, nl=False)
            sys.stdout.flush()

    def facts(self, rows: Mapping[str, str]) -> None:
        """Aligned ``name  value`` lines."""
        width = max((len(name) for name in rows), default=0)
        for name, value in rows.items():
            self.line(f"{name:<{width}}  {value}".rstrip())

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = False) -> None:
        """Plain aligned columns, the same on a terminal and in a pipe; ``numbers`` are all but the first."""
        widths = [max(len(cell) for cell in cells) for cells in zip(columns, *rows, strict=True)]
        for row in (columns, *rows):
            cells = [
                f"{cell:>{width}}" if numbers and i else f"{cell:<{width}}"
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            self.line("  ".join(cells).rstrip())

    def note(self, text: str) -> None:
        """Something to know that is not the answer."""
        click.echo(text, err=True)

    def fail(self, code: str, message: str, hint: str) -> None:
        """The one message of a failure."""
        click.echo(f"{self._style('error:', 'red')} {message}", err=True)
        if hint:
            click.echo(f"{self._style('hint:', 'cyan')} {hint}", err=True)
        if self.as_json and not self.answered:
            self.data({"error": {"code": code, "message": message, "hint": hint}})

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Draws bars on a terminal, and prints one plain line for each stage elsewhere, and among log lines."""
        if self.draws():
            from mlcweb.cli.bars import Bars

            with Bars() as bars:
                yield bars
        else:
            from mlcweb.cli.stage_lines import StageLines

            with StageLines(self.note) as lines:
                yield lines

    def draws(self) -> bool:
        """Whether progress is drawn as bars."""
        return self._is_terminal() and not debug_level()

    def _is_terminal(self) -> bool:
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def _style(self, text: str, colour: str) -> str:
        if self._is_terminal() and "NO_COLOR" not in os.environ:
            return click.style(text, fg=colour, bold=True)
        return text
