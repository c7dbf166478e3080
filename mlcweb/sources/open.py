"""Finds out what kind of source a model name is, and opens it."""

from __future__ import annotations

import os
from pathlib import Path

from mlcweb.errors import SourceError
from mlcweb.progress import Progress, SilentProgress
from mlcweb.sources.checkpoint import Checkpoint
from mlcweb.sources.hub.cache import find_snapshot
from mlcweb.sources.hub.name import parse_hub_name


def open_checkpoint(
    spec: str, *, revision: str | None = None, images: bool = True, progress: Progress | None = None
) -> Checkpoint:
    """Open a .gguf file, a model folder (safetensors, or a single model in GGUF), or what is named on the hub:
    ``org/name``, ``org/name:Q4_K_M``, or the address of a model's page or file.

    A model split into several .gguf files is opened by its folder or by any of its parts.

    A path that exists wins over a model id; a folder in the hub's cache is the repository's. ``revision`` (branch, tag
    or commit) is for the hub and its cache only. Of a model that sees, without ``images`` it is the text model. Raises
    SourceError, CheckpointError or UnsupportedError, each naming the file or id.
    """
    progress = progress or SilentProgress()
    path = Path(os.path.expanduser(spec))
    # os.path's, because pathlib's raise for what is too long to be a path, such as a signed address
    if os.path.isfile(path) or os.path.isdir(path):
        snapshot = find_snapshot(path, revision) if path.is_dir() else None
        if snapshot is not None:
            folder, repo, commit = snapshot
            return _open_path(folder, images, progress, {"kind": "hub", "id": repo, "revision": commit})
        if revision is not None:
            raise SourceError(
                f"{spec} is a local path: it has no revision {revision}", hint="Omit the revision."
            )
        return _open_path(path, images, progress, None)
    named = parse_hub_name(spec, revision)
    if named is None:
        raise SourceError(
            f"{spec}: no such file or folder, and not a model id",
            hint="Give a folder, a .gguf file, or a Hugging Face model id such as org/name.",
        )
    from mlcweb.sources.hub.open import open_hub  # imports an HTTP client, which local compiles do not need

    return open_hub(named, images=images, progress=progress)


def _open_path(path: Path, images: bool, progress: Progress, source: dict[str, str] | None) -> Checkpoint:
    """``source`` is the record of where it came from, if not from the path."""
    if path.is_dir():
        ggufs = sorted(path.glob("*.gguf"))
        if not ggufs or any(path.glob("*.safetensors")):
            from mlcweb.sources.directory import open_directory

            return open_directory(path, source=source, images=images, progress=progress)
        from mlcweb.sources.gguf.split import whole_name

        names = sorted({whole_name(gguf.name) for gguf in ggufs})
        if len(names) > 1:
            raise SourceError(
                f"{path}: holds {len(names)} GGUF files ({', '.join(names[:5])})",
                hint="Give the path of the one to compile; of one in parts, of any part.",
            )
        path = ggufs[0]
    elif path.suffix.lower() != ".gguf":
        raise SourceError(
            f"{path}: is neither a .gguf file nor a folder",
            hint="For safetensors give the folder that holds config.json.",
        )
    from mlcweb.sources.gguf.open import open_gguf

    return open_gguf(path, source={**source, "file": path.name} if source else None, progress=progress)
