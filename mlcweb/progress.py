"""Defines how long work reports on itself: a stage has a name and a total in bytes or items."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives progress; implementations are thread-safe. The command line draws it, tests ignore it."""

    def start(self, stage: str, total: int = 0, unit: str = "items") -> None:
        """Begin a stage (ending the one before); ``unit`` is ``bytes``, ``tokens`` or ``items``; 0 means unknown."""

    def advance(self, amount: int) -> None:
        """More of the stage's total is done."""

    def note(self, text: str) -> None:
        """One line the user should see (a decision made, a fallback taken)."""


class SilentProgress:
    """Discards everything."""

    def start(self, stage: str, total: int = 0, unit: str = "items") -> None: ...

    def advance(self, amount: int) -> None: ...

    def note(self, text: str) -> None: ...
