"""Browsers that run already: a Chromium with a DevTools port, and Playwright's own server."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, Queue
from urllib.parse import quote

SECONDS = 120
WEBGPU = ("--enable-unsafe-webgpu",)


@contextmanager
def devtools_chromium(
    chromium: Path, flags: tuple[str, ...] = WEBGPU
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Its ws:// address, and its process."""
    with tempfile.TemporaryDirectory(prefix="mw", ignore_cleanup_errors=True) as profile:
        command = [str(chromium), "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={profile}"]
        command += ["--no-first-run", *(["--no-sandbox"] if os.geteuid() == 0 else []), *flags]
        with _running(command, r"DevTools listening on (ws://\S+)") as started:
            yield started


@contextmanager
def playwright_server(chromium: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """``playwright run-server``: it starts the browser that a client's address names."""
    command = [sys.executable, "-m", "playwright", "run-server", "--port=0", "--host=127.0.0.1", "--unsafe"]
    with _running(command, r"Listening on (ws://\S+)") as (address, process):
        options = {"executablePath": str(chromium), "args": ["--headless=new", *WEBGPU]}
        yield f"{address}?browser=chromium&launch-options={quote(json.dumps(options))}", process


@contextmanager
def _running(command: list[str], says: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The program in a process group of its own, once it has said its address; the group is gone afterwards."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield _address(process, says), process
    finally:
        kill_group(process)
        process.wait()


def kill_group(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _address(process: subprocess.Popen[str], says: str) -> str:
    found: Queue[str] = Queue()

    def read() -> None:  # to the end, so that the program never waits for a reader
        assert process.stdout
        for line in process.stdout:
            if match := re.search(says, line):
                found.put(match[1])

    threading.Thread(target=read, daemon=True).start()
    try:
        return found.get(timeout=SECONDS)
    except Empty:
        raise AssertionError(f"{process.args!r} did not say its address") from None
