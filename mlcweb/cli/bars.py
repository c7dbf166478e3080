"""Shows progress on a terminal: a bar for each stage, with amount, rate and time left."""

from __future__ import annotations

import threading
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.text import Text

from mlcweb.numbers import rate, size


class AmountColumn(ProgressColumn):
    """``12 MB of 98 MB, 30 MB/s`` for bytes, ``96 of 512, 31.0 tok/s`` for tokens, ``3 of 30`` for items."""

    def render(self, task: Task) -> Text:
        as_bytes = task.fields["unit"] == "bytes"

        def show(amount: float) -> str:
            return size(int(amount)) if as_bytes else f"{int(amount)}"

        if not task.completed and not task.total:
            return Text("")
        text = show(task.completed)
        if task.total:
            text += f" of {show(task.total)}"
        if as_bytes and not task.finished and task.speed:
            text += f", {size(int(task.speed))}/s"
        if task.fields["unit"] == "tokens" and not task.finished and task.speed:
            text += f", {rate(task.speed)}"
        return Text(text, style="progress.download")


def drawn_bars() -> RichProgress:
    """Rows of bars on stderr, none yet; a task has the field ``unit``."""
    return RichProgress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        AmountColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
    )


class Bars:
    """A ``Progress`` drawn with rich on stderr (which honours NO_COLOR)."""

    def __init__(self) -> None:
        self._rich = drawn_bars()
        self._task: TaskID | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Bars:
        self._rich.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            with self._lock:
                self._finish()
        self._rich.stop()

    def start(self, stage: str, total: int = 0, unit: str = "items") -> None:
        with self._lock:
            self._finish()
            self._task = self._rich.add_task(stage, total=total or None, unit=unit)

    def advance(self, amount: int) -> None:
        with self._lock:
            if self._task is not None:
                self._rich.advance(self._task, amount)

    def note(self, text: str) -> None:
        self._rich.console.print(text, markup=False, highlight=False)

    def _finish(self) -> None:
        if self._task is None:
            return
        task = next(t for t in self._rich.tasks if t.id == self._task)
        total = task.total or task.completed or 1
        self._rich.update(self._task, total=total, completed=total)
        self._rich.stop_task(self._task)
        self._task = None
