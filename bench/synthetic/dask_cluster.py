"""Starts a Dask scheduler and workers as processes on loopback, as `dask scheduler` and `dask worker` do."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_TO_START = 60.0  # seconds


class DaskCluster:
    """A scheduler, and the workers that are added to it; each takes one task at a time."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.workers: list[subprocess.Popen[bytes]] = []
        self._folder = folder
        self._environment = {**os.environ, **environment}
        self._file = folder / "scheduler.json"
        self._scheduler = self._start("scheduler", "--port", "0", "--scheduler-file", str(self._file))
        self._wait(self._file.is_file)
        self.address = str(json.loads(self._file.read_text())["address"])

    def add_worker(self, core: int | None = None) -> subprocess.Popen[bytes]:
        """Another worker, on that core alone if one is named; it has no nanny, so when it dies it stays dead."""
        before = ("taskset", "-c", str(core)) if core is not None else ()
        flags = ("--nthreads", "1", "--no-nanny", "--local-directory", str(self._folder))
        worker = self._start("worker", self.address, *flags, before=before)
        self.workers.append(worker)
        self._wait(lambda: len(self._identity()) == len([w for w in self.workers if w.poll() is None]))
        return worker

    def close(self) -> None:
        """End all its processes."""
        for process in [*self.workers, self._scheduler]:
            if process.poll() is None:
                process.terminate()
        for process in [*self.workers, self._scheduler]:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            if process.poll() is None:
                process.kill()
                process.wait()

    def _identity(self) -> Mapping[str, object]:
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            workers: Mapping[str, object] = client.scheduler_info(n_workers=-1)["workers"]
            return workers

    def _start(self, *command: str, before: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        arguments = [*before, sys.executable, "-m", "dask", *command, "--host", "127.0.0.1", "--no-dashboard"]
        with open(self._folder / "dask.log", "ab") as log:
            return subprocess.Popen(
                arguments, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _wait(self, ready: object) -> None:
        assert callable(ready)
        end = time.monotonic() + _TO_START
        while not ready():
            if time.monotonic() > end:
                raise TimeoutError((self._folder / "dask.log").read_text())
            time.sleep(0.1)


@contextmanager
def dask_cluster(folder: Path, **environment: str) -> Iterator[DaskCluster]:
    """A cluster without workers, whose processes have ``environment`` besides this one's."""
    cluster = DaskCluster(folder, environment)
    try:
        yield cluster
    finally:
        cluster.close()
