"""Reads back what was published, from the target or from the address that browsers use."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from mlcweb import __version__
from mlcweb.bundle import MANIFEST_NAME
from mlcweb.contract.constants import MAX_MANIFEST_BYTES
from mlcweb.errors import PublishError
from mlcweb.progress import Progress
from mlcweb.publish.local_file import PIECE_BYTES
from mlcweb.publish.parallel import run_parallel
from mlcweb.publish.plan import Plan
from mlcweb.publish.request import Verify
from mlcweb.publish.target import LocalFile, Target

_SECONDS = 60
_TRIES = 4
_RESEND = "Publish again with --force, which sends every file."


class Reader(Protocol):
    """Where files are read back from."""

    def sizes(self, plan: Plan) -> Callable[[LocalFile], int | None]:
        """How to find a file's size; None where it is missing."""

    def pieces(self, plan: Plan, name: str) -> Iterator[bytes]:
        """A file's content."""

    def manifest(self, plan: Plan) -> bytes | None:
        """The manifest that is there."""


class TargetReader:
    """Reads with the publisher's own rights."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def sizes(self, plan: Plan) -> Callable[[LocalFile], int | None]:
        stored = self._target.files(plan.folder)
        return lambda file: stored[file.name].bytes if file.name in stored else None

    def pieces(self, plan: Plan, name: str) -> Iterator[bytes]:
        return self._target.pieces(f"{plan.folder}/{name}")

    def manifest(self, plan: Plan) -> bytes | None:
        found = self._target.read(f"{plan.folder}/{MANIFEST_NAME}", MAX_MANIFEST_BYTES)
        return found.data if found else None


class PublicReader:
    """Reads as a browser does, without rights; ``note`` takes what a browser will stumble over."""

    def __init__(self, url: str, note: Callable[[str], None]) -> None:
        if not url.startswith(("http://", "https://")):
            raise PublishError(
                f"the public address {url!r} is no http:// or https:// address",
                hint="Give --public-url in full.",
            )
        self._url = url.rstrip("/")
        self._note = note

    def sizes(self, plan: Plan) -> Callable[[LocalFile], int | None]:
        def size(file: LocalFile) -> int | None:
            request = self._request(plan, file.name, method="HEAD")
            try:
                with urlopen(request, timeout=_SECONDS) as answer:
                    said = answer.headers.get("Content-Length")
            except HTTPError as error:
                if error.code in (404, 403, 410):
                    return None
                raise self._error(request, error) from error
            except OSError as error:
                raise self._error(request, error) from error
            return int(said) if said and said.isdecimal() else file.entry.bytes

        return size

    def pieces(self, plan: Plan, name: str) -> Iterator[bytes]:
        request = self._request(plan, name)
        try:
            with urlopen(request, timeout=_SECONDS) as answer:
                while piece := answer.read(PIECE_BYTES):
                    yield piece
        except OSError as error:
            raise self._error(request, error) from error

    def manifest(self, plan: Plan) -> bytes | None:
        request = self._request(plan, MANIFEST_NAME)
        request.add_header("Cache-Control", "no-cache")
        request.add_header("Origin", "https://a-page.example")
        try:
            with urlopen(request, timeout=_SECONDS) as answer:
                data: bytes = answer.read(MAX_MANIFEST_BYTES + 1)
                headers = answer.headers
        except HTTPError as error:
            if error.code in (404, 403, 410):
                return None
            raise self._error(request, error) from error
        except OSError as error:
            raise self._error(request, error) from error
        if not headers.get("Access-Control-Allow-Origin"):
            self._note(f"{self._url} sends no Access-Control-Allow-Origin: pages elsewhere cannot load it")
        if "no-cache" not in (headers.get("Cache-Control") or ""):
            self._note(f"{self._url} sends {MANIFEST_NAME} without Cache-Control: no-cache")
        return data

    def _request(self, plan: Plan, name: str, method: str = "GET") -> Request:
        # a file asked for before it was there may be "missing" in the CDN's cache, so none was
        url = f"{self._url}/{quote(plan.local.name, safe='~')}/{quote(name)}"
        return Request(url, method=method, headers={"User-Agent": f"mlcweb/{__version__}"})

    def _error(self, request: Request, error: OSError) -> PublishError:
        reason = error.reason if isinstance(error, URLError) else error
        return PublishError(
            f"{request.full_url} cannot be read: {str(reason)[:200]}",
            hint="Check --public-url and whether the files there are public.",
        )


def check_files(
    reader: Reader, plans: Sequence[Plan], verify: Verify, workers: int, progress: Progress
) -> None:
    """Compare every file's size, or with ``full`` its sha256, before a manifest names it. Raises PublishError."""
    if verify == "none":
        return
    everything = [(plan, file) for plan in plans for file in plan.local.files]
    if verify == "full":
        progress.start("reading back", sum(file.entry.bytes for _, file in everything), "bytes")
    else:
        progress.start("checking", len(everything))
    sizes = {plan.folder: reader.sizes(plan) for plan in plans}

    def check(one: tuple[Plan, LocalFile]) -> None:
        plan, file = one
        where = f"{plan.local.name}/{file.name}"
        size = sizes[plan.folder](file)
        if size is None:
            raise PublishError(f"{where} is not at the target, or may not be read there", hint=_RESEND)
        if size != file.entry.bytes:
            raise PublishError(
                f"{where} has {size} bytes at the target, not {file.entry.bytes}", hint=_RESEND
            )
        if verify != "full":
            progress.advance(1)
            return
        digest = hashlib.sha256()
        for piece in reader.pieces(plan, file.name):
            digest.update(piece)
            progress.advance(len(piece))
        if digest.hexdigest() != file.entry.sha256:
            raise PublishError(f"{where} is damaged at the target: its sha256 differs", hint=_RESEND)

    run_parallel(check, everything, workers)


def check_manifests(reader: Reader, plans: Sequence[Plan], verify: Verify) -> None:
    """Compare each manifest with the one that was sent. Raises PublishError."""
    if verify == "none":
        return
    public = isinstance(reader, PublicReader)
    for plan in plans:
        for again in range(_TRIES if public else 1):
            if again:
                time.sleep(0.5 * 2**again)  # a CDN may ask for the new one in the background
            data = reader.manifest(plan)
            if data == plan.local.text:
                break
        else:
            what = "is missing" if data is None else "is another one"
            cdn = "If a CDN stands before the target, make it ask for this file each time (Cache-Control: no-cache), "
            hint = "Another publisher replaced it: agree on who publishes this name."
            raise PublishError(
                f"{plan.local.name}/{MANIFEST_NAME} {what} there, after it was sent",
                hint=f"{cdn}and purge it. Or another publisher replaced it." if public else hint,
            )
