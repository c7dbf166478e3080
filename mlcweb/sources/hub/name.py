"""Reads what on the hub a SOURCE names: ``org/name``, ``org/name:Q4_K_M``, or the address of a page or file there."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

from mlcweb.errors import SourceError

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_PART = re.compile(r"[A-Za-z0-9][\w.-]*")
_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co", "www.hf.co")
# In a page's address, what comes between the repository and the revision.
_VIEWS = ("tree", "blob", "resolve", "raw", "commit")


@dataclass(frozen=True)
class HubName:
    """A repository; ``revision`` is a branch, tag or commit, ``file`` a .gguf file in it, ``quant`` picks one."""

    repo: str
    revision: str | None = None
    file: str | None = None
    quant: str | None = None


def is_hub_id(spec: str) -> bool:
    """Whether it has the form ``org/name``."""
    return _ID.fullmatch(spec) is not None


def parse_hub_name(spec: str, revision: str | None = None) -> HubName | None:
    """What ``spec`` names on the hub; None if it has no such form. ``revision`` is what ``--revision`` says.

    Raises SourceError for an address that is not a model's, and for two revisions.
    """
    named = _parse(spec)
    if named is None or revision is None:
        return named
    if named.revision not in (None, revision):
        raise SourceError(
            f"{spec} is at revision {named.revision}, and --revision says {revision}", hint="Leave one out."
        )
    return replace(named, revision=revision)


def _parse(spec: str) -> HubName | None:
    if "://" in spec:
        return _parse_url(spec)
    host, _, path = spec.partition("/")
    if host.lower() in _HOSTS:
        return _parse_url(f"https://{host}/{path}")
    repo, colon, pick = spec.rstrip("/").partition(":")
    if not is_hub_id(repo) or (colon and not pick):
        return None
    # "org/missing.gguf" can only have meant a path, so "not on the hub" would be a misleading answer
    return None if repo.endswith(".gguf") else _pick(HubName(repo), pick)


def _pick(named: HubName, pick: str) -> HubName:
    if not pick:
        return named
    if pick.lower().endswith(".gguf"):
        return replace(named, file=pick)
    return replace(named, quant=pick)


def _parse_url(spec: str) -> HubName:
    try:
        url = urlsplit(spec)
        host = (url.hostname or "").lower()
    except ValueError as error:
        raise SourceError(f"{spec}: is not an address: {error}") from error
    if url.scheme.lower() not in ("http", "https") or not (
        host in _HOSTS or url.netloc == urlsplit(os.environ.get("HF_ENDPOINT", "")).netloc
    ):
        raise SourceError(
            f"{spec}: is an address elsewhere than on the Hugging Face hub",
            hint="Download the file or folder, and give its path; or give a model id such as org/name.",
        )
    parts = [unquote(part) for part in url.path.split("/") if part]
    if len(parts) < 2 or parts[0] in ("datasets", "spaces", "collections", "papers", "docs", "api"):
        raise SourceError(
            f"{spec}: is not a model's address on the hub", hint="Give a model id such as org/name."
        )
    last, _, pick = parts[1].partition(":")
    if not _PART.fullmatch(parts[0]) or not _PART.fullmatch(last):
        raise SourceError(f"{spec}: {parts[0]}/{last} is not a model id")
    named = _pick(HubName(f"{parts[0]}/{last}"), pick)
    view, path = parts[2:3], parts[4:]
    if (view and view[0] not in _VIEWS) or (view and len(parts) < 4):
        # a tab of the model's page, such as "discussions"
        return named
    if not view:
        return named
    named = replace(named, revision=parts[3])
    if path and path[-1].lower().endswith(".gguf"):
        return replace(named, file="/".join(path))
    if len(path) > 1 or (path and view[0] == "tree"):
        raise SourceError(
            f"{spec}: is a folder inside a repository, and mlcweb compiles what is at its root",
            hint="Download the folder, and give its path.",
        )
    return named
