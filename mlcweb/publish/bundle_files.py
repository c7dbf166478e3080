"""Opens a bundle for publishing: its files and their sizes, its manifest's bytes, and a name that is a folder's."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mlcweb.bundle import MANIFEST_NAME, Bundle, Manifest, open_bundle
from mlcweb.contract.constants import CATALOG_NAME, UNPRINTABLE
from mlcweb.errors import PublishError
from mlcweb.publish.target import LocalFile, changed

_NAME = re.compile(rf"(?!\.)[^/\\{UNPRINTABLE}]+")


@dataclass(frozen=True)
class LocalBundle:
    """A bundle on this machine; ``text`` is its manifest as it is on disk."""

    bundle: Bundle
    text: bytes
    files: tuple[LocalFile, ...]

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def manifest(self) -> Manifest:
        return self.bundle.manifest

    @cached_property
    def sha256(self) -> str:
        """The manifest's."""
        return hashlib.sha256(self.text).hexdigest()


def open_local(path: Path) -> LocalBundle:
    """Raises BundleError for a damaged manifest or plan, PublishError for a name that cannot be a folder's, and
    SourceChanged for a file that is missing or of another size."""
    bundle = open_bundle(path)
    text = (bundle.path / MANIFEST_NAME).read_bytes()
    manifest = Manifest.from_json(text)
    name = manifest.name
    if not _NAME.fullmatch(name) or name == CATALOG_NAME or len(name.encode()) > 200:
        raise PublishError(
            f"{bundle.path}: the bundle's name {name!r} cannot be a folder's",
            hint="Compile it again with another --name: no slashes, no dot at its beginning, at most 200 bytes.",
        )
    bundle = Bundle(bundle.path, manifest)
    bundle.check_tiers()
    files = tuple(LocalFile(bundle.path / name, name, entry) for name, entry in manifest.files.items())
    for file in files:
        try:
            size = file.path.stat().st_size
        except OSError as error:
            raise changed(file, error.strerror or "cannot be read") from error
        if size != file.entry.bytes:
            raise changed(file, f"{size} bytes, the manifest says {file.entry.bytes}")
    return LocalBundle(bundle, text, files)
