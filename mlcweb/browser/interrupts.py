"""Handles Ctrl-C while a browser runs.

A KeyboardInterrupt raised inside playwright's event loop leaves it unusable, and the browser running. So
while a browser is open, signals only leave a mark, which our polling loop raises between two calls.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

PATIENCE = 4  # presses without anything stopping, after which we stop the hard way


class Interrupts:
    """Holds SIGINT and SIGTERM back; the first is taken with ``take()`` or raised by ``check()``."""

    def __init__(self) -> None:
        self._pressed = 0
        self._terminated = False
        self._at_once = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._mark)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def take(self) -> bool:
        """Whether Ctrl-C was pressed since the last question; the press is then dealt with."""
        self._check_terminated()
        pressed, self._pressed = self._pressed > 0, 0
        return pressed

    def check(self) -> None:
        """Raise what a signal asked for."""
        if self.take():
            raise KeyboardInterrupt

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Around a wait that is not playwright's, such as reading a line: signals raise there and then."""
        self.check()
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def _check_terminated(self) -> None:
        if self._terminated:
            raise SystemExit(128 + signal.SIGTERM)

    def _mark(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTERM:
            self._terminated = True
        elif not self._at_once:
            self._pressed += 1
        if self._at_once:
            self._check_terminated()
            raise KeyboardInterrupt
        if self._pressed >= PATIENCE:
            os._exit(128 + signal.SIGINT)  # the browser goes down with its closed pipe
