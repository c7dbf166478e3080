"""Asks a target whether a bundle is there, and made of the same input."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from mlcweb.build.task import Publishing
from mlcweb.bundle import MANIFEST_NAME, Manifest
from mlcweb.contract.constants import CATALOG_NAME, MAX_CATALOG_BYTES, MAX_MANIFEST_BYTES
from mlcweb.errors import BundleError
from mlcweb.publish import open_target, read_catalog
from mlcweb.publish.address import read_address


@dataclass(frozen=True)
class Published:
    """A bundle at a target: its bytes, and the names of its tiers."""

    bytes: int
    tiers: tuple[str, ...]


def published(publishing: Publishing, name: str, inputs: str) -> Published | None:
    """The bundle of that name whose manifest says ``inputs``, if the catalog lists it; None leaves it to publish.

    A publisher writes the files first, then the manifest, then the catalog: so what the catalog lists is whole.
    Raises PublishError where the target cannot be asked.
    """
    address = read_address(publishing.target)
    target = open_target(address, publishing.endpoint_url)
    found = target.read(address.key(name, MANIFEST_NAME), MAX_MANIFEST_BYTES)
    listed = target.read(address.key(CATALOG_NAME), MAX_CATALOG_BYTES)
    if found is None or listed is None:
        return None
    try:
        manifest = Manifest.from_json(found.data)
        catalog = read_catalog(listed.data, CATALOG_NAME)
    except BundleError:
        return None
    if manifest.inputs != inputs:
        return None
    sha256 = hashlib.sha256(found.data).hexdigest()
    if not any(model["id"] == name and model["manifest_sha256"] == sha256 for model in catalog["models"]):
        return None
    size = sum(file.bytes for file in manifest.files.values())
    return Published(size, tuple(tier.name for tier in manifest.tiers))
