"""Opens folders of the Hugging Face cache: ``models--org--name``, and the snapshots of commits in it."""

from __future__ import annotations

import os
from pathlib import Path

from mlcweb.errors import SourceError

_PREFIX = "models--"


def find_snapshot(path: Path, revision: str | None) -> tuple[Path, str, str] | None:
    """The snapshot's folder, the repository and the commit, if ``path`` is a repository's folder in the cache, its
    ``snapshots`` or one of these; None for any other folder. Raises SourceError if it holds no such revision.
    """
    # not resolved: the files in a snapshot, and in some set-ups the cache itself, are links
    path = Path(os.path.abspath(path))
    if path.parent.name == "snapshots" and _is_repository(path.parent.parent):
        if revision not in (None, path.name):
            raise SourceError(
                f"{path}: is the snapshot of one commit: it has no revision {revision}",
                hint=f"Give {path.parent.parent}, or leave --revision out.",
            )
        return path, _repo_of(path.parent.parent), path.name
    folder = path.parent if path.name == "snapshots" else path
    if not _is_repository(folder):
        return None
    commit = _commit(folder, revision)
    return folder / "snapshots" / commit, _repo_of(folder), commit


def _is_repository(folder: Path) -> bool:
    return folder.name.startswith(_PREFIX) and (folder / "snapshots").is_dir()


def _repo_of(folder: Path) -> str:
    return folder.name.removeprefix(_PREFIX).replace("--", "/", 1)


def _commit(folder: Path, revision: str | None) -> str:
    commits = sorted(path.name for path in (folder / "snapshots").iterdir() if path.is_dir())
    for name in (revision,) if revision else ("main", "master"):
        reference = folder / "refs" / name
        if ".." not in Path(name).parts and reference.is_file():
            commit = reference.read_text(encoding="utf-8", errors="replace").strip()
            if commit in commits:
                return commit
        if name in commits:
            return name
    if revision is None and len(commits) == 1:
        return commits[0]
    said = ", ".join(commits) or "none"
    raise SourceError(
        f"{folder}: {f'has no revision {revision}' if revision else 'does not say which commit is meant'}; "
        f"it holds {said}",
        hint="Give one with --revision." if commits else f"Give {_repo_of(folder)} to download it.",
    )
