"""Finds files that no kept manifest names: the current one, and those that were replaced within the grace period."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from mlcweb.bundle import MANIFEST_NAME
from mlcweb.bundle.check import decode_json
from mlcweb.contract.constants import MAX_MANIFEST_BYTES
from mlcweb.errors import BundleError, PublishError
from mlcweb.publish.target import Target

# A bundle's file, as the manifest's schema has it; anything else at the target is not ours to delete.
_OURS = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.[0-9a-f]{8}\.[a-z0-9]{1,16}")
_REPLACED = re.compile(r"mlcweb\.[0-9a-f]{8}\.json")


def replaced_name(sha256: str) -> str:
    """Under what name a manifest is kept when another replaces it: its age there says since when it is out of use."""
    return f"mlcweb.{sha256[:8]}.json"


def unused(target: Target, folder: str, grace: timedelta, also: frozenset[str]) -> list[str]:
    """The names in a bundle's folder that may go. ``also``: more names to keep.

    Raises PublishError where a kept manifest cannot be read: then nothing is known to be unused.
    """
    stored = target.files(folder, dates=True)
    now = datetime.now(timezone.utc)

    def old(name: str) -> bool:
        modified = stored[name].modified
        return not grace or (modified is not None and modified < now - grace)

    kept = [MANIFEST_NAME, *(name for name in stored if _REPLACED.fullmatch(name) and not old(name))]
    named = set(also).union(*(_named(target, folder, name) for name in kept), kept)
    return sorted(name for name in stored if _OURS.fullmatch(name) and name not in named and old(name))


def _named(target: Target, folder: str, name: str) -> Iterator[str]:
    found = target.read(f"{folder}/{name}", MAX_MANIFEST_BYTES)
    if found is None:
        return iter(())
    try:
        data: Any = decode_json(found.data, name)
        return iter(list(data["files"]))
    except (BundleError, KeyError, TypeError) as error:
        raise PublishError(
            f"{folder}/{name} is not a manifest, so nothing is known to be unused",
            hint="Publish without --prune, or delete that file.",
        ) from error
