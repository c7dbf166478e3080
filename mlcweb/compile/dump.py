"""Writes what ``mlcweb compile --dump`` shows of lowering, in a folder that a person can read.

The folder has a folder a tier. Lowering fills one beside the others, from whichever process lowers the tier; all of it
is moved to its place when the bundle is whole, and nothing is left where the compile fails.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tvm

from mlcweb.bundle import Bundle
from mlcweb.bundle.readable_plan import plan_text, readable_plan
from mlcweb.bundle.replace import alive
from mlcweb.errors import UnsupportedError
from mlcweb.lower import Entries
from mlcweb.plan import Plan

MARKER, FORMAT, VERSION = "mlcweb-dump.json", "mlcweb-dump", 1
PLAN = "plan.txt"
_KERNELS = "kernels.json"
_PARTIAL = re.compile(r"\.partial-([0-9]+)")


@dataclass(frozen=True)
class TierDump:
    """A tier's folder: ``ENTRY/N-PHASE.relax.py``, ``kernels/NAME.tir.py`` and ``.wgsl``, and ``plan.txt``."""

    folder: Path

    def begin(self) -> None:
        """Make the folder anew: a process that failed may have begun it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def phase(self, name: str, module: tvm.IRModule) -> None:
        """Write each entry's Relax as it is after a phase, numbered by how many there are already."""
        for variable, function in module.functions_items():
            if not isinstance(function, tvm.relax.Function):
                continue
            entry = self.folder / str(variable.name_hint)
            entry.mkdir(exist_ok=True)
            number = len(list(entry.iterdir()))
            _write(entry / f"{number}-{name}.relax.py", function.script())

    def kernels(self, entries: Entries, plan: Plan) -> None:
        """Write each kernel's TIR and WGSL, if it has some, and a table of their grids and workgroups."""
        folder = self.folder / "kernels"
        folder.mkdir()
        for kernel in plan.kernels:
            _write(folder / f"{kernel.name}.tir.py", entries.module[kernel.name].script())
            if kernel.wgsl:
                _write(folder / f"{kernel.name}.wgsl", kernel.wgsl)
        table = {
            k.name: {"grid": [str(size) for size in k.grid], "workgroup": k.threads} for k in plan.kernels
        }
        _write(self.folder / _KERNELS, json.dumps(table, indent=1))

    def plan(self, bundle: Bundle, tier: str) -> None:
        """Write the plan as the bundle has it, with the kernels' grids."""
        kernels: dict[str, Any] = json.loads((self.folder / _KERNELS).read_text(encoding="utf-8"))
        _write(self.folder / PLAN, "\n".join(plan_text(readable_plan(bundle, tier, kernels))))


@dataclass(frozen=True)
class Dump:
    """A dump being written in ``partial``, which is in the folder that it is for."""

    folder: Path
    partial: Path

    def tier(self, name: str) -> TierDump:
        """Where a tier goes."""
        return TierDump(self.partial / name)

    def finish(self, bundle: Bundle) -> None:
        """Write the plans of the finished bundle, and put everything in its place."""
        tiers = [tier.name for tier in bundle.manifest.tiers]
        for tier in tiers:
            self.tier(tier).plan(bundle, tier)
        made = {"format": FORMAT, "version": VERSION, "bundle": bundle.manifest.name, "tiers": tiers}
        _write(self.partial / MARKER, json.dumps(made, indent=1))
        old = _ours(self.folder) or []
        # the marker goes first and comes last: a folder between the two is no dump
        for name in [MARKER, *tiers, *old]:
            _remove(self.folder / name)
        for name in [*tiers, MARKER]:
            os.rename(self.partial / name, self.folder / name)


@contextmanager
def open_dump(folder: Path, *, force: bool) -> Iterator[Dump]:
    """A dump into ``folder``, which is made if need be; what ``finish`` was not called for leaves nothing.

    Raises UnsupportedError for a folder that holds anything but a dump, unless ``force``, which keeps what is there
    under names that the dump does not have.
    """
    _check(folder, force=force)
    made = not folder.exists()
    partial = folder / f".partial-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield Dump(folder, partial)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if made and not any(folder.iterdir()):
            folder.rmdir()


def _check(folder: Path, *, force: bool) -> None:
    """Refuse what is not a dump; what a killed process left of one is removed."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UnsupportedError(f"--dump {folder} is a file, not a folder", hint="Name another folder.")
    ours = _ours(folder)
    for entry in sorted(folder.iterdir()):
        partial = _PARTIAL.fullmatch(entry.name)
        if partial:
            if not alive(int(partial[1])):
                shutil.rmtree(entry)
        elif not force and entry.name not in (ours or []):
            what = "is no dump" if ours is None else "is not a dump alone"
            raise UnsupportedError(
                f"--dump {folder} {what}: it holds {entry.name}",
                hint="Name another folder; --force writes there, over files of the same names.",
            )


def _ours(folder: Path) -> list[str] | None:
    """The names that a dump in ``folder`` has there; None where there is none."""
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(marker, dict) or marker.get("format") != FORMAT:
        return None
    tiers = marker.get("tiers")
    named = tiers if isinstance(tiers, list) else []
    return [name for name in named if isinstance(name, str) and re.fullmatch(r"[a-z0-9-]+", name)] + [MARKER]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
