"""Reads a TARGET: a folder, or a place in an object store or on the Hugging Face hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlcweb.errors import PublishError

Kind = Literal["folder", "s3", "gs", "az", "hf"]
_FORMS = (
    "A target is a folder, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or hf://org/name."
)


@dataclass(frozen=True)
class Address:
    """``place`` is the folder, bucket, container or repository; ``prefix`` is the path in it, without slashes around.

    ``text`` is what the user wrote, for messages.
    """

    kind: Kind
    place: str
    prefix: str
    text: str

    def key(self, *parts: str) -> str:
        """The path of something under the target, from the place's root."""
        return "/".join(part for part in (self.prefix, *parts) if part)


def read_address(text: str) -> Address:
    """Raises PublishError for a scheme that mlcweb does not know, or a place without a name."""
    scheme, separator, rest = text.partition("://")
    if not separator or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]+", scheme):
        if not text:
            raise PublishError("the target is empty", hint=_FORMS)
        return Address("folder", str(Path(text).expanduser()), "", text)
    kind = scheme.lower()
    parts = rest.split("/")
    while parts and not parts[-1]:
        parts.pop()
    if any(part in ("", ".", "..") for part in parts):
        raise PublishError(f"{text}: a path in a store has no empty part, . or ..", hint=_FORMS)
    if kind in ("s3", "gs", "az") and parts:
        return Address(kind, parts[0], "/".join(parts[1:]), text)  # type: ignore[arg-type]
    if kind == "hf" and len(parts) >= 2:
        return Address("hf", "/".join(parts[:2]), "/".join(parts[2:]), text)
    what = (
        f"{text} names no bucket or repository"
        if kind in ("s3", "gs", "az", "hf")
        else f"{scheme}:// is unknown"
    )
    raise PublishError(what, hint=_FORMS)
