"""Makes the task that ``process`` sends, and sends events back. What libraries print goes to stderr."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import sys
import threading
import time
from dataclasses import asdict
from types import FrameType
from typing import IO

from mlcweb.build.process import TO_UNWIND, Event
from mlcweb.build.task import make

SHOWN_EVERY = 0.5  # seconds; a Dask worker sends each to its scheduler


class _Events:
    """A ``Progress`` that writes events; what advances is added up between lines."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._amount = 0
        self._shown = 0.0

    def start(self, stage: str, total: int = 0, unit: str = "items") -> None:
        with self._lock:
            self._flush()
            self.send({"stage": stage, "total": total, "unit": unit})

    def advance(self, amount: int) -> None:
        with self._lock:
            self._amount += amount
            if time.monotonic() > self._shown + SHOWN_EVERY:
                self._flush()

    def note(self, text: str) -> None:
        with self._lock:
            self.send({"note": text})

    def send(self, event: Event) -> None:
        self._out.write(json.dumps(event) + "\n")
        self._out.flush()

    def _flush(self) -> None:
        if self._amount:
            self.send({"advance": self._amount})
        self._amount, self._shown = 0, time.monotonic()


def _unwind(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)


def _follow_parent() -> None:
    """Unwind when the parent is gone."""
    while True:
        with contextlib.suppress(InterruptedError):
            if not os.read(0, 1):  # not sys.stdin's, whose lock a fork would copy
                break
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(TO_UNWIND)
    os._exit(1)


def main() -> int:
    """The child's side."""
    events = _Events(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)
    task = pickle.load(_Unbuffered())
    signal.signal(signal.SIGTERM, _unwind)
    threading.Thread(target=_follow_parent, daemon=True).start()
    result = make(task, events, lambda step: events.send({"step": step}))
    events.send({"result": asdict(result)})
    return 0


class _Unbuffered:
    """Reads stdin without taking more than is asked for."""

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = os.read(0, count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def readline(self) -> bytes:
        data = b""
        while not data.endswith(b"\n"):
            data += self.read(1)
        return data


if __name__ == "__main__":
    sys.exit(main())
