"""Tells what is wrong with the bytes that a host sends for a file."""

from __future__ import annotations

import hashlib

from mlcweb.hosting.ask import Answer, inflated
from mlcweb.hosting.findings import Finding

_COMPRESSED = {b"\x1f\x8b\x08": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_UNDONE = ("", "gzip", "x-gzip", "deflate")


def wrong_bytes(name: str, answer: Answer, data: bytes, size: int = 0, sha256: str = "") -> Finding | None:
    """What a load would stumble over in an answer's body, as it was sent; None for nothing.

    ``size`` and ``sha256`` are the manifest's, where they are known.
    """
    if answer.broke:
        stated = answer.header("content-length")
        said = f"breaks off after {len(data)} bytes" + (f" of the {stated} that it states" if stated else "")
        return Finding(
            "error", "length", name, said, "Send the whole file. Some hosts cut large or slow ones."
        )
    if answer.encoding not in _UNDONE:
        return None  # nothing here undoes it
    body = inflated(data, answer.encoding)
    if body is None:
        said = f"is sent with Content-Encoding: {answer.encoding}, and is not that"
        return Finding("error", "encoding", name, said, "Compress it once, or not at all.")
    if size and len(body) == size and (not sha256 or hashlib.sha256(body).hexdigest() == sha256):
        return None
    if is_page(answer, body):
        said = "is a web page: a login, or an app that answers every path"
        return Finding("error", "page", name, said, "Serve the file, and answer 404 for what is missing.")
    kind = next((kind for magic, kind in _COMPRESSED.items() if body.startswith(magic)), None)
    if kind:
        said = "is compressed twice" if answer.encoding else f"is {kind}, and does not say so"
        fix = "Compress it once, or not at all." if answer.encoding else f"Content-Encoding: {kind}"
        return Finding("error", "encoding", name, said, fix)
    if not size:
        return None
    if name.endswith(".bin") and len(body) != size:
        return other_length(name, str(len(body)), size)
    said = f"is not what was published: {len(body)} bytes of {size}"
    return Finding("error", "bytes", name, said, "Let the host change nothing: no minifier, no rewriting.")


def other_length(name: str, length: str, size: int) -> Finding:
    """For weights of another length than the manifest's."""
    said = f"has {length} bytes; the manifest says {size}"
    return Finding("error", "length", name, said, "Publish the bundle again; some hosts cut large files.")


def is_page(answer: Answer, body: bytes) -> bool:
    """Whether an answer is a web page."""
    kind = answer.header("content-type").lower()
    return kind.startswith("text/html") or body.lstrip()[:9].lower().startswith((b"<!doctype", b"<html"))
