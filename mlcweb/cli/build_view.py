"""Shows a build: on a terminal a bar for all and one for each bundle in work, elsewhere a line for each bundle."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mlcweb.cli.output import Output
from mlcweb.numbers import seconds, size

if TYPE_CHECKING:
    from mlcweb.build import BuildView, TaskResult


@contextmanager
def build_view(output: Output, total: int) -> Iterator[BuildView]:
    """The view that suits where stderr goes."""
    if output.draws():
        with _Bars(total) as bars:
            yield bars
    else:
        yield _Lines(output, total)


def said(result: TaskResult) -> str:
    """``Llama-3.2-1B-q4f16_1: 712.4 MB; compile 41 s, validate 3.2 s, publish there``."""
    name = result.name or result.label
    if result.failure:
        return f"{name}: {result.failed} FAILED: {result.failure.message}"
    steps = [f"{step} {seconds(took)}" for step, took in result.seconds.items()]
    steps += [f"{step} there" for step in result.there]
    return f"{name}: {size(result.bytes)}; {', '.join(steps)}"


class _Lines:
    """A line when a bundle begins and when it ends."""

    def __init__(self, output: Output, total: int) -> None:
        self._output = output
        self._total = total
        self._ended = 0
        self._lock = threading.Lock()

    def began(self, label: str) -> None:
        with self._lock:
            self._output.note(f"{label}: begun")

    def event(self, label: str, event: dict[str, Any]) -> None: ...

    def ended(self, result: TaskResult) -> None:
        with self._lock:
            self._ended += 1
            self._output.note(f"{self._ended} of {self._total}  {said(result)}")


class _Bars:
    """A bar for all bundles, and under it one for the stage of each that is in work."""

    def __init__(self, total: int) -> None:
        from mlcweb.cli.bars import drawn_bars

        self._rich = drawn_bars()
        self._all = self._rich.add_task("bundles", total=total, unit="items")
        self._tasks: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> _Bars:
        self._rich.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._rich.stop()

    def began(self, label: str) -> None:
        with self._lock:
            if label not in self._tasks:
                self._tasks[label] = self._rich.add_task(label, total=None, unit="items")

    def event(self, label: str, event: dict[str, Any]) -> None:
        with self._lock:
            task = self._tasks.get(label)
            if task is None:
                return
            if "stage" in event:
                said = f"{label}: {event['stage']}"
                self._rich.reset(task, description=said, total=event["total"] or None, unit=event["unit"])
            elif "advance" in event:
                self._rich.advance(task, event["advance"])

    def ended(self, result: TaskResult) -> None:
        with self._lock:
            task = self._tasks.pop(result.label, None)
            if task is not None:
                self._rich.remove_task(task)
            self._rich.advance(self._all, 1)
            self._rich.console.print(said(result), markup=False, highlight=False)
