"""Publishes a bundle, and tells what a reader then sees: which whole model, or that it is not whole."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

from mlcweb.bundle import Manifest
from mlcweb.publish import PublishRequest, PublishResult, publish

Read = Callable[[str], "bytes | None"]


def in_folder(root: Path) -> Read:
    """Reads a target that is a folder."""
    return lambda key: (root / key).read_bytes() if (root / key).is_file() else None


def at_url(url: str) -> Read:
    """Reads a target as a browser does."""

    def read(key: str) -> bytes | None:
        try:
            with urlopen(f"{url}/{quote(key)}", timeout=60) as answer:
                data: bytes = answer.read()
                return data
        except HTTPError as error:
            if error.code == 404:
                return None
            raise

    return read


def whole_model(read: Read, name: str) -> str | None:
    """The sha256 of the manifest there, all of whose files are there and right; None where there is none."""
    text = read(f"{name}/mlcweb.json")
    if text is None:
        return None
    for file, entry in Manifest.from_json(text).files.items():
        data = read(f"{name}/{file}")
        assert data is not None, f"{file} is missing"
        assert len(data) == entry.bytes, f"{file} has {len(data)} bytes of {entry.bytes}"
        assert hashlib.sha256(data).hexdigest() == entry.sha256, f"{file} is damaged"
    return hashlib.sha256(text).hexdigest()


def catalog(read: Read) -> dict[str, dict[str, Any]]:
    """The catalog's models by id; none where there is no catalog."""
    text = read("catalog.json")
    return {model["id"]: model for model in json.loads(text)["models"]} if text else {}


def sha256_of(folder: Path) -> str:
    """Of a local bundle's manifest."""
    return hashlib.sha256((folder / "mlcweb.json").read_bytes()).hexdigest()


def send(bundle: Path, target: str | Path, **options: Any) -> PublishResult:
    """Publish one bundle."""
    return publish(PublishRequest((bundle,), str(target), **options))


def tree(root: Path) -> dict[str, bytes]:
    """Every file's content by its path."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def age(path: Path, days: float) -> None:
    """Make a file look as old."""
    then = time.time() - days * 86400
    os.utime(path, (then, then))
