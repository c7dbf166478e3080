"""Runs a function on many items by a few threads, and stops at the first error."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_parallel(function: Callable[[Item], None], items: Iterable[Item], workers: int) -> None:
    """Raises the first error, after the items that others had begun; an interrupt waits for none of them.

    The threads are daemons, unlike an executor's: a process that was told to end does not wait for their requests.
    """
    waiting = list(items)[::-1]
    results: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    stop = threading.Event()

    def work() -> None:
        error: BaseException | None = None
        while not stop.is_set():
            try:
                item = waiting.pop()
            except IndexError:
                break
            try:
                function(item)
            except BaseException as caught:
                error = caught
                stop.set()
        results.put(error)

    count = min(workers, len(waiting))
    for _ in range(count):
        threading.Thread(target=work, daemon=True).start()
    try:
        errors = [error for error in [results.get() for _ in range(count)] if error is not None]
    except BaseException:
        stop.set()
        raise
    if errors:
        raise errors[0]


def interruptible(function: Callable[[], Result]) -> Result:
    """The function's result, while Ctrl-C is heard: a library that waits in native code does not hear it."""
    results: list[Result] = []
    run_parallel(lambda call: results.append(call()), [function], 1)
    return results[0]
