"""Makes tasks on a Dask cluster, one at a time on each thread of its workers.

Dask sends what a lost worker had to another one, three times at most.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from mlcweb.build.process import Event, run_in_process
from mlcweb.build.task import STEPS, Task, TaskResult
from mlcweb.compile.job import compiler_digest
from mlcweb.cores import cores
from mlcweb.errors import BuildError
from mlcweb.failures import Failure

if TYPE_CHECKING:
    from mlcweb.build.run import BuildView

_TO_CONNECT = "10s"


def make_on_dask(tasks: Sequence[Task], address: str, view: BuildView) -> Iterator[TaskResult]:
    """The results as they are ready. When the iteration ends early, bundles that have begun are finished there.

    Raises BuildError where Dask is missing, or the scheduler does not answer or has no workers.
    """
    try:
        import distributed
    except ImportError as error:
        raise BuildError("--dask needs Dask", hint="Run: pip install 'mlcweb[dask]'") from error
    dask: Any = distributed  # which has no types
    try:
        client = dask.Client(address, timeout=_TO_CONNECT, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise BuildError(
            f"no Dask scheduler answers at {address}",
            hint="Start one with `dask scheduler`, and give the address that it prints.",
        ) from error
    with client:
        if not client.scheduler_info()["workers"]:
            raise BuildError(
                f"the Dask scheduler at {address} has no workers",
                hint=f"Start some: dask worker {address} --nthreads 1",
            )
        topic = f"mlcweb-build-{uuid4().hex}"
        client.subscribe_topic(topic, lambda event: _show(event[1], view))
        compiler = compiler_digest()
        futures: dict[Any, Task] = {}
        for task in tasks:
            task = replace(task, compiler=compiler)
            key = f"mlcweb-{task.label}-{uuid4().hex[:8]}"
            futures[client.submit(make_on_worker, task, topic, key=key, pure=False)] = task
        try:
            for future in dask.as_completed(list(futures), loop=client.loop):
                yield _result(future, futures[future])
        finally:
            client.unsubscribe_topic(topic)
            client.cancel(list(futures))


def make_on_worker(task: Task, topic: str) -> TaskResult:
    """What a worker runs: the task in a process, with the worker's share of the cores."""
    from distributed import get_worker

    worker = get_worker()

    def show(event: Event) -> None:
        worker.log_event(topic, {"label": task.label, **event})

    show({"began": True})
    share = max(1, cores() // worker.state.nthreads)
    result = run_in_process(task, show, threading.Event(), share)
    return replace(result, worker=worker.address)


def _show(event: dict[str, Any], view: BuildView) -> None:
    label = event.pop("label")
    if event.pop("began", False):
        view.began(label)
    else:
        view.event(label, event)


def _result(future: Any, task: Task) -> TaskResult:
    """What came of a future: a task's result, or what Dask says of it."""
    from distributed import KilledWorker

    try:
        result = future.result()
        assert isinstance(result, TaskResult)
        return result
    except KilledWorker:
        message = "each worker that began it was lost"
        hint = "Look at the workers' logs; memory that ran out is a usual reason."
    except (ModuleNotFoundError, ImportError) as error:
        message, hint = f"a worker cannot load mlcweb: {error}", "Install mlcweb on each worker."
    except Exception as error:
        message, hint = f"Dask: {type(error).__name__}: {error}", ""
    return TaskResult(task.label, failed=STEPS[0], failure=Failure("build", message, hint))
