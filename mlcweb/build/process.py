"""Runs a task in a process of its own, so that each bundle gives its memory back and none ends the others.

``__main__`` is the process's side. It reads the task, pickled, from its stdin, which stays open: when that ends, the
parent is gone, and the process unwinds. Each line of its stdout is an event in JSON, and the last one is the result.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import IO, Any

from mlcweb.build.task import STEPS, Step, Task, TaskResult
from mlcweb.cores import VARIABLE
from mlcweb.failures import Failure

TO_UNWIND = 20.0  # seconds, for browsers to close and temporary files to go
_TAIL = 2000  # bytes of stderr

Event = dict[str, Any]
"""``{"step"}``, ``{"stage", "total", "unit"}``, ``{"advance"}``, ``{"note"}`` or ``{"result"}``."""


class Stopped(Exception):
    """The task was not finished, since somebody asked it to stop."""


def run_in_process(
    task: Task, show: Callable[[Event], None], stop: threading.Event, cores: int | None = None
) -> TaskResult:
    """The result of ``make(task)`` in a process of its own, whose progress goes to ``show``.

    ``cores``: how many the child may use. A child that dies is a result that failed. Raises Stopped when ``stop`` was
    set, after the child has ended.
    """
    environment = dict(os.environ)
    if cores is not None:
        environment[VARIABLE] = str(cores)
    command = [sys.executable, "-m", "mlcweb.build"]
    with tempfile.TemporaryFile() as stderr:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
            start_new_session=True,  # a Ctrl-C is the parent's to answer
        )
        ended = threading.Event()
        watcher = threading.Thread(target=_end_when, args=(child, stop, ended), daemon=True)
        watcher.start()
        result: TaskResult | None = None
        step: Step = "compile"
        try:
            assert child.stdin and child.stdout
            with contextlib.suppress(OSError):  # it died at once, and stderr says why
                child.stdin.write(pickle.dumps(task))
                child.stdin.flush()
            result, step = _listen(child.stdout, show)
        finally:
            if sys.exc_info()[0] is not None:
                stop.set()
            code = _wait(child)
            ended.set()
            watcher.join()
        if stop.is_set() and result is None:
            raise Stopped
        return result or _died(task, step, code, stderr)


def _listen(lines: IO[bytes], show: Callable[[Event], None]) -> tuple[TaskResult | None, Step]:
    """The result, and the last step that was begun."""
    result, step = None, STEPS[0]
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:  # the last line of a process that was killed
            continue
        if "result" in event:
            result = _result(event["result"])
            continue
        step = event.get("step", step)
        show(event)
    return result, step


def _result(data: dict[str, Any]) -> TaskResult:
    failure = data.pop("failure")
    for key in ("tiers", "there", "notes"):
        data[key] = tuple(data[key])
    return TaskResult(**data, failure=Failure(**failure) if failure else None)


def _end_when(child: subprocess.Popen[bytes], stop: threading.Event, ended: threading.Event) -> None:
    """When ``stop`` is set, ask the child to unwind, and kill its processes if it does not."""
    while not ended.is_set():
        if stop.wait(0.2):
            break
    if ended.is_set():
        return
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
    if not ended.wait(TO_UNWIND):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)


def _wait(child: subprocess.Popen[bytes]) -> int:
    assert child.stdin and child.stdout
    with contextlib.suppress(OSError):
        child.stdin.close()
    child.stdout.close()
    return child.wait()


def _died(task: Task, step: Step, code: int, stderr: IO[bytes]) -> TaskResult:
    """A child that wrote no result: a signal ended it, or Python did not start."""
    stderr.seek(max(0, stderr.seek(0, os.SEEK_END) - _TAIL))
    lines = stderr.read().decode(errors="replace").strip().splitlines()
    if code == -signal.SIGKILL:
        message, hint = (
            "the process was killed, as systems do when memory runs out",
            "Run fewer at a time, or use a machine with more memory.",
        )
    else:
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        message, hint = f"the process ended by {how}" + (f": {lines[-1]}" if lines else ""), ""
    return TaskResult(task.label, failed=step, failure=Failure("process", message, hint))
