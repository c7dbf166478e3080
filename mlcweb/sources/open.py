"""Finds out what kind of source a model name is, and opens it."""

from __future__ import annotations

import re
from pathlib import Path

from mlcweb.errors import SourceError
from mlcweb.progress import Progress, SilentProgress
from mlcweb.sources.checkpoint import Checkpoint

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_hub_id(spec: str) -> bool:
    """Whether it has the form ``org/name``."""
    return _HUB_ID.fullmatch(spec) is not None


def open_checkpoint(
    spec: str, *, revision: str | None = None, progress: Progress | None = None
) -> Checkpoint:
    """Open a .gguf file, a model folder (safetensors, or a single model in GGUF) or a Hugging Face id ``org/name``.

    A model split into several .gguf files is opened by its folder or by any of its parts.

    A path that exists wins over a model id. ``revision`` (branch, tag or commit) is for the hub only.
    Raises SourceError, CheckpointError or UnsupportedError, each naming the file or id.
    """
    path = Path(spec).expanduser()
    if path.is_file() or path.is_dir():
        if revision is not None:
            raise SourceError(
                f"{spec} is a local path: it has no revision {revision}", hint="Omit the revision."
            )
        return _open_path(path, progress)
    # "./x" and "x.gguf" can only have meant a path, so "not on the hub" would be a misleading answer.
    if spec.endswith(".gguf") or not is_hub_id(spec):
        raise SourceError(
            f"{spec}: no such file or folder, and not a model id",
            hint="Give a folder, a .gguf file, or a Hugging Face model id such as org/name.",
        )
    from mlcweb.sources.hub import open_hub  # imports an HTTP client, which local compiles do not need

    return open_hub(spec, revision=revision, progress=progress or SilentProgress())


def _open_path(path: Path, progress: Progress | None) -> Checkpoint:
    if path.is_dir():
        ggufs = sorted(path.glob("*.gguf"))
        if not ggufs or any(path.glob("*.safetensors")):
            from mlcweb.sources.directory import open_directory

            return open_directory(path)
        from mlcweb.sources.gguf_split import whole_name

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
    from mlcweb.sources.gguf import open_gguf

    return open_gguf(path, progress=progress)
