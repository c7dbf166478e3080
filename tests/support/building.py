"""Lists of tiny models for ``mlcweb build``, its command as a process, and the processes that it starts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mlcweb.cache_folder import default_cache_dir
from tests.support.tiny import TinyLlama, make_llama

ROOT = Path(__file__).resolve().parents[2]
KERNELS = default_cache_dir() / "kernels"
SETTINGS = "context_length = 64\nevaluate = false\nscales = 'mlc'\ntiers = ['base']\n"


def tiny_list(folder: Path, count: int, head: str = 'target = "www"', tail: str = "") -> Path:
    """models.toml with ``count`` models, tiny-0 and so on, each of weights of its own."""
    text = head + '\nquantizations = ["q4f32_1"]\n'
    for i in range(count):
        make_llama(folder / f"tiny-{i}", TinyLlama(seed=i))
        text += f'\n[[models]]\nsource = "tiny-{i}"\n{SETTINGS}'
    path = folder / "models.toml"
    path.write_text(text + tail)
    return path


def caches(folder: Path) -> dict[str, str]:
    """Variables: what passed before is a test's own, and tiny kernels are everybody's."""
    return {"MLCWEB_CACHE": str(folder / "cache"), "MLCWEB_KERNEL_CACHE": str(KERNELS)}


def start_build(path: Path, *flags: str, **environment: str) -> subprocess.Popen[str]:
    """``mlcweb build``, with its own cache beside the list, but for kernels."""
    settings = {"PYTHONPATH": str(ROOT), **caches(path.parent), **environment}
    return subprocess.Popen(
        [sys.executable, "-m", "mlcweb", "build", str(path), "--format", "json", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **settings},
    )


def processes_of(parent: int) -> list[int]:
    """The processes of bundles that a process has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if int(status[1]) == parent and b"mlcweb.build" in command and status[0] != "Z":
            found.append(int(folder.name))
    return found


def alive(pid: int) -> bool:
    """Whether a process runs, and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(ready: Callable[[], object], seconds: float = 60) -> None:
    """Raises TimeoutError unless it becomes true."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(ready)
        time.sleep(0.02)
