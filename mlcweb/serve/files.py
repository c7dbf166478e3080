"""Maps a request's path to a file, and never to one outside the two folders served."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlcweb.contract.constants import MANIFEST_NAME

MIME_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".wasm": "application/wasm",
    ".wgsl": "text/plain; charset=utf-8",
    ".bin": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".txt": "text/plain; charset=utf-8",
}
HASHED = re.compile(r"\.[0-9a-f]{8}\.[a-z]+$")
CHAT_PAGE, SEARCH_PAGE = "chat.html", "search.html"


@dataclass(frozen=True)
class Served:
    """A file to send, and how."""

    path: Path
    content_type: str
    immutable: bool


def page_for(bundle: Path | None) -> str:
    """The page at ``/``: the search page where the bundle's model makes embeddings, else the chat page."""
    try:
        manifest = json.loads((bundle / MANIFEST_NAME).read_bytes()) if bundle else None
    except (OSError, ValueError, RecursionError):  # the page says what is wrong with the bundle
        return CHAT_PAGE
    return SEARCH_PAGE if isinstance(manifest, dict) and "embedding" in manifest else CHAT_PAGE


def find_file(target: str, engine: Path, bundle: Path | None, index: str = CHAT_PAGE) -> Served | None:
    """The file that the request target names, ``index`` for ``/``; None means 404."""
    try:
        path = unquote(urlsplit(target).path, errors="strict")
    except (ValueError, UnicodeDecodeError):
        return None
    if not path.startswith("/"):
        return None
    parts = path[1:].split("/")
    root = engine
    if parts[0] == "bundle":
        if bundle is None:
            return None
        root, parts = bundle, parts[1:]
    elif parts == [""]:
        parts = [index]
    if any(not acceptable(part) for part in parts):
        return None
    file_path = root.joinpath(*parts)
    try:
        if not file_path.resolve().is_relative_to(root.resolve()) or not file_path.is_file():
            return None
    except (OSError, RuntimeError):  # a name too long, links in a circle
        return None
    kind = MIME_TYPES.get(file_path.suffix.lower(), "application/octet-stream")
    return Served(file_path, kind, immutable=root is bundle and bool(HASHED.search(file_path.name)))


def acceptable(part: str) -> bool:
    """Plain names only: nothing hidden, no parents, no separators of any system, no control characters."""
    return bool(part) and not part.startswith(".") and not any(c in "/\\:" or ord(c) < 32 for c in part)


def parse_range(header: str | None, length: int) -> tuple[int, int] | None:
    """First and last byte of a ``bytes=`` range; None to send everything; ValueError when out of range."""
    match = re.fullmatch(r"bytes=(\d{0,15})-(\d{0,15})", (header or "").strip())
    if not match or match.group(1) == match.group(2) == "":
        return None
    first, last = match.groups()
    if first == "":
        count = min(int(last), length)
        start, end = length - count, length - 1
    else:
        start, end = int(first), min(int(last), length - 1) if last else length - 1
        if last and int(last) < start:
            return None
    if start >= length or end < start:
        raise ValueError(header)
    return start, end
