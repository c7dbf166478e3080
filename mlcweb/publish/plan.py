"""Compares a bundle with what is at the target: what to send, and whether it may replace what is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from mlcweb.bundle import MANIFEST_NAME
from mlcweb.bundle.check import decode_json
from mlcweb.contract.constants import FORMAT, MAX_MANIFEST_BYTES, VERSION
from mlcweb.errors import BundleError, PublishError
from mlcweb.publish.address import Address
from mlcweb.publish.bundle_files import LocalBundle
from mlcweb.publish.target import Found, LocalFile, Target


@dataclass(frozen=True)
class Plan:
    """``folder`` is the bundle's at the target. ``send`` is not there yet, ``there`` is; ``current``: the manifest
    there is this one's."""

    local: LocalBundle
    folder: str
    send: tuple[LocalFile, ...]
    there: tuple[LocalFile, ...]
    current: bool


def make_plan(target: Target, address: Address, local: LocalBundle, *, force: bool) -> Plan:
    """Asks the target, and changes nothing there. Raises PublishError for a bundle that it may not replace."""
    folder = address.key(local.name)
    found = target.read(f"{folder}/{MANIFEST_NAME}", MAX_MANIFEST_BYTES)
    check_replaceable(found, local, f"{address.text}: {local.name}/{MANIFEST_NAME}", force=force)
    stored = target.files(folder)
    there = tuple(
        file
        for file in local.files
        if not force and file.name in stored and stored[file.name].bytes == file.entry.bytes
    )
    names = {file.name for file in there}
    send = tuple(file for file in local.files if file.name not in names)
    return Plan(local, folder, send, there, found is not None and found.data == local.text)


def check_replaceable(found: Found | None, local: LocalBundle, where: str, *, force: bool) -> None:
    """Raises PublishError where another model, a newer format or no manifest at all is there, unless ``force``."""
    if found is None or force or found.data == local.text:
        return
    again = "Choose another name (`mlcweb compile --name`) or target, or replace it with --force."
    try:
        data: Any = decode_json(found.data, MANIFEST_NAME)
    except BundleError as error:
        raise PublishError(f"{where} is not a manifest: {error.message}", hint=again) from error
    if not isinstance(data, dict) or data.get("format") != FORMAT or not isinstance(data.get("model"), dict):
        raise PublishError(f"{where} is not a bundle's manifest", hint=again)
    version = data.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise PublishError(
            f"{where} has format version {str(version)[:40]}; this mlcweb writes version {VERSION}",
            hint="Publish with the mlcweb that made it, or replace it with --force.",
        )
    family, source = data["model"].get("family"), data["model"].get("source")
    theirs = _model_of(str(family), source if isinstance(source, dict) else {})
    ours = _model_of(local.manifest.model.family, local.manifest.model.source)
    if theirs != ours:
        raise PublishError(
            f"{where} is of another model: {' '.join(theirs)[:200]}, not {' '.join(ours)}", hint=again
        )


def _model_of(family: str, source: Mapping[str, Any]) -> tuple[str, ...]:
    """What stays the same when a model is compiled again, also from another place and at another revision."""
    name = str(source.get("id") or source.get("name") or "")
    adapter = str(source.get("adapter") or "")
    return tuple(part for part in (family, PurePosixPath(name).name, adapter) if part)
