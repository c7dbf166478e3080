"""Shows progress where there is no terminal: one plain line when a stage ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

from mlcweb.numbers import seconds, size


class StageLines:
    """A ``Progress`` that prints ``quantize: 98.0 MB in 3.2 s``."""

    def __init__(self, print_line: Callable[[str], None]) -> None:
        self._print = print_line
        self._lock = threading.Lock()
        self._stage = ""
        self._unit = "items"
        self._done = 0
        self._began = 0.0

    def __enter__(self) -> StageLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            with self._lock:
                self._finish()

    def start(self, stage: str, total: int = 0, unit: str = "items") -> None:
        with self._lock:
            self._finish()
            self._stage, self._unit, self._done, self._began = stage, unit, 0, time.monotonic()

    def advance(self, amount: int) -> None:
        with self._lock:
            self._done += amount

    def note(self, text: str) -> None:
        with self._lock:
            self._print(text)

    def _finish(self) -> None:
        if not self._stage:
            return
        took = seconds(time.monotonic() - self._began)
        amount = size(self._done) if self._unit == "bytes" else f"{self._done} {self._unit}"
        self._print(f"{self._stage}: {amount} in {took}" if self._done else f"{self._stage}: {took}")
        self._stage = ""
