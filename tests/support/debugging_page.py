"""Replays the commands of docs/debugging.md in a copy of the compiler, and writes or compares what they print.

python -m tests.support.debugging_page            exit 1 where the page is not what the commands print
python -m tests.support.debugging_page --write    put what they print on the page
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "debugging.md"
_STEP = re.compile(r"^```sh\n(?P<commands>.*?)^```\n\n```text\n(?P<printed>.*?)^```$", re.M | re.S)
# what differs from run to run and from machine to machine
_VARYING = (
    (re.compile(r"^ *\d+\.\d{3} (?=mlcweb\.)", re.M), ""),
    (re.compile(r"\d+(\.\d+)? (s|ms|min)\b"), "some s"),
    (re.compile(r"\d\.\d+e[-+]\d+"), "a difference"),
    (re.compile(r" on [^:\n]*(?=: | answers)"), " on an adapter"),
    (re.compile(r"then it says .*?(?=; )"), "then it says something"),
    (re.compile(r" +"), " "),
)


@dataclass(frozen=True)
class Step:
    """Commands of the page, run in one shell, and what the page says they print."""

    commands: str
    printed: str

    @property
    def in_browser(self) -> bool:
        return "mlcweb validate" in self.commands


def steps(page: str) -> list[Step]:
    """The page's steps, in order."""
    return [Step(match["commands"], match["printed"]) for match in _STEP.finditer(page)]


def stable(text: str) -> str:
    """``text`` without what differs from run to run."""
    for pattern, instead in _VARYING:
        text = pattern.sub(instead, text)
    return text


def make_clone(folder: Path) -> dict[str, str]:
    """A copy of the compiler that may be broken, in ``folder``; the environment in which its commands run."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "mlcweb", folder / "mlcweb", ignore=ignored)
    for shared in ("tests", "bench"):
        (folder / shared).symlink_to(ROOT / shared)
    programs = folder / ".programs"
    programs.mkdir()
    for name, words in {"python": "", "mlcweb": " -m mlcweb"}.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n')
        program.chmod(0o755)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLCWEB_DEBUG")}
    return {
        **environment,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MLCWEB_KERNEL_CACHE": str(folder / ".kernels"),
    }


def replay(todo: Sequence[Step]) -> list[str]:
    """What each step prints in a fresh clone, stdout alone. Raises CalledProcessError for one that fails."""
    with tempfile.TemporaryDirectory(prefix="mlcweb-debugging-") as temporary:
        folder = Path(temporary)
        environment = make_clone(folder)
        return [
            subprocess.run(
                ["bash", "-e", "-c", step.commands],
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                timeout=1800,
            ).stdout
            for step in todo
        ]


def written(page: str, printed: Sequence[str]) -> str:
    """The page with other outputs."""
    outputs = iter(printed)
    return _STEP.sub(lambda match: f"```sh\n{match['commands']}```\n\n```text\n{next(outputs)}```", page)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    todo = steps(PAGE.read_text(encoding="utf-8"))
    printed = replay(todo)
    if options.write:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), printed), encoding="utf-8")
        return 0
    changed = [
        (step, now) for step, now in zip(todo, printed, strict=True) if stable(step.printed) != stable(now)
    ]
    for step, now in changed:
        print(f"{step.commands}now prints:\n{now}")
    print(f"{len(todo)} steps, {len(changed)} changed")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
