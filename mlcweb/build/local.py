"""Makes tasks on this machine, several at a time, each in a process of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING

from mlcweb.build.process import Stopped, run_in_process
from mlcweb.build.task import Task, TaskResult
from mlcweb.cores import cores

if TYPE_CHECKING:
    from mlcweb.build.run import BuildView


def make_here(tasks: Sequence[Task], jobs: int, view: BuildView) -> Iterator[TaskResult]:
    """The results as they are ready. When the iteration ends early, so do the processes."""
    stop = threading.Event()
    share = max(1, cores() // jobs)

    def make(task: Task) -> TaskResult:
        if stop.is_set():
            raise Stopped
        view.began(task.label)
        return run_in_process(task, lambda event: view.event(task.label, event), stop, share)

    pool = ThreadPoolExecutor(jobs, thread_name_prefix="build")
    try:
        for future in as_completed([pool.submit(make, task) for task in tasks]):
            yield future.result()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
