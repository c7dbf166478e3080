"""What `make dist` makes, and environments that have mlcweb from there and nothing from the clone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WITH_NODE = ROOT / "scripts" / "with-node.sh"
DIST_PYTHON = ROOT / ".cache" / "dist" / "bin" / "python"


@dataclass(frozen=True)
class Packages:
    """A folder with a wheel, an sdist and an npm tarball."""

    folder: Path

    @property
    def wheel(self) -> Path:
        return self._one("mlcweb-*.whl")

    @property
    def sdist(self) -> Path:
        return self._one("mlcweb-*.tar.gz")

    @property
    def npm(self) -> Path:
        return self._one("mlcweb-*.tgz")

    @property
    def all(self) -> list[Path]:
        return [self.wheel, self.sdist, self.npm]

    def _one(self, pattern: str) -> Path:
        (path,) = self.folder.glob(pattern)
        return path


def dist(*options: str | Path, root: Path = ROOT, umask: int = -1, **more: str) -> tuple[int, str]:
    """scripts/dist.py of the clone at ``root``: its exit status, and what it said."""
    command = [WITH_NODE, DIST_PYTHON, root / "scripts" / "dist.py", *options]
    done = subprocess.run(
        command,
        env={**os.environ, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        umask=umask,
        timeout=300,
    )
    return done.returncode, done.stdout


def build(folder: Path) -> None:
    """The packages of this tree as it is, into ``folder``."""
    status, said = dist("--out", folder)
    assert status == 0, said


class Environment:
    """A virtual environment in ``folder``, and a home: commands run there see nothing of the clone, and no Node."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "env" / "bin" / "python"
        self.called = folder / "called"  # what asked for Node

    @classmethod
    def borrowing(cls, folder: Path, wheel: Path) -> Environment:
        """mlcweb from the wheel; what it depends on from the environment that runs the tests, to save minutes."""
        made = cls(folder)
        made._make("--without-pip")
        install = ["-m", "pip", "--python", made.python, "install", "--no-deps", "--no-index", wheel]
        made._run([sys.executable, *install])
        # Lines of a .pth file are folders to import from; what .pth files in those say, such as where the clone is
        # that was installed editable, is not read.
        (purelib,) = (folder / "env").glob("lib/python*/site-packages")
        (purelib / "borrowed.pth").write_text(f"{_site_packages()}\n")
        return made

    @classmethod
    def installing(cls, folder: Path, package: Path) -> Environment:
        """mlcweb and all that it depends on, by pip."""
        made = cls(folder)
        made._make()
        made._run([made.python, "-m", "pip", "install", "--quiet", "--no-input", package])
        return made

    def _make(self, *options: str) -> None:
        self._run([sys.executable, "-m", "venv", *options, self.folder / "env"])
        traps = self.folder / "traps"
        traps.mkdir()
        for name in ("node", "npm", "npx"):
            trap = traps / name
            trap.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.called}\nexit 127\n')
            trap.chmod(0o755)

    def _run(self, command: list[str | Path]) -> None:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._clean(os.environ),
            capture_output=True,
            text=True,
            timeout=1200,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _clean(self, env: Mapping[str, str]) -> dict[str, str]:
        return {k: v for k, v in env.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "MLCWEB_"))}

    @property
    def env(self) -> dict[str, str]:
        """What commands run with: this environment first, then what would say that Node was called."""
        path = f"{self.python.parent}:{self.folder / 'traps'}:/usr/local/bin:/usr/bin:/bin"
        browser = {k: v for k, v in os.environ.items() if k.startswith("MLCWEB_CHROMIUM")}
        return {**self._clean(os.environ), **browser, "PATH": path, "HOME": str(self.folder)}

    def run(self, *command: str | Path, timeout: float = 600) -> str:
        """What a program of the environment prints to stdout; fails where it fails."""
        done = subprocess.run(
            [self.python.parent / command[0], *command[1:]],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout


def _site_packages() -> str:
    import click

    return str(Path(click.__file__).parents[1])
