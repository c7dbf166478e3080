"""Checks a bundle's host, file by file; each finding is a line, with the header to set."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from urllib.parse import urljoin, urlsplit, urlunsplit

from mlcweb.bundle import MANIFEST_NAME, Manifest
from mlcweb.contract.constants import CATALOG_NAME, MAX_CATALOG_BYTES, MAX_MANIFEST_BYTES
from mlcweb.errors import BundleError, HostError
from mlcweb.hosting.ask import Answer, asking, inflated
from mlcweb.hosting.bytes_sent import is_page, other_length, wrong_bytes
from mlcweb.hosting.findings import Finding
from mlcweb.publish.catalog_check import read_catalog

ORIGIN = "https://page.example"
_MISSING = "weights-000.00000000.bin"
_RANGE_FROM = 1000
_LONG_S = 30 * 24 * 3600
_LOCAL = ("localhost", "127.0.0.1", "::1")
_EXPOSED = "Content-Range, Retry-After"
_AS_BROWSERS = {"Accept-Encoding": "gzip, deflate, br, zstd"}
_AT_ONCE = 8


def check_host(url: str, origin: str = ORIGIN) -> list[Finding]:
    """What a page on ``origin`` meets at a bundle's URL, its folder's or its manifest's. Raises HostError for a host
    that cannot be reached.
    """
    host = _Host(url, origin)
    findings = [*host.transport()]
    manifest, found = host.manifest()
    findings += found
    if manifest is not None:
        findings += host.files(manifest)
        findings += host.missing()
    return findings


class _Host:
    """The checks, in their order."""

    def __init__(self, url: str, origin: str) -> None:
        parts = urlsplit(url)
        path = re.sub(r"mlcweb\.json$", "", parts.path)
        self._parts = parts._replace(path=path if path.endswith("/") else f"{path}/", fragment="")
        self._origin = origin
        self._http2: bool | None = None

    def _url(self, name: str) -> str:
        """A file's; the bundle's query goes with it, as the engine asks."""
        return urlunsplit(self._parts._replace(path=self._parts.path + name))

    def transport(self) -> Iterator[Finding]:
        """Whether a page that WebGPU runs on may ask at all."""
        local = self._parts.hostname in _LOCAL
        if self._parts.scheme == "http" and not local:
            said = (
                "is served over http: a page with WebGPU is on https, and browsers block what it asks of http"
            )
            yield Finding("error", "transport", "", said, "Serve it over https.")

    def manifest(self) -> tuple[Manifest | None, list[Finding]]:
        """The manifest, if it is one, and what is to say of its answer."""
        name, found = MANIFEST_NAME, list[Finding]()
        with asking(self._url(name), self._origin, {"Accept-Encoding": "gzip"}) as answer:
            self._http2 = answer.http2
            found += self._redirects(answer, name)
            if answer.status != 200:
                said = f"is answered with {answer.status}"
                return None, [*found, Finding("error", "status", name, said, "Check the bundle's URL.")]
            found += self._cors(answer, name)
            found += self._caching(answer, name, fixed=False)
            data = answer.read(MAX_MANIFEST_BYTES)
            wrong = wrong_bytes(name, answer, data)
            if wrong:
                return None, [*found, wrong]
            body = inflated(data, answer.encoding) or b""
        if answer.http2 is False:
            said = "the host offers no HTTP/2: a load asks for files one after the other on few connections"
            found.append(Finding("warning", "http2", name, said, "Turn HTTP/2 on."))
        try:
            manifest = Manifest.from_json(body)
        except BundleError as error:
            fix = "Publish the bundle again, and see that the host changes no bytes."
            return None, [*found, Finding("error", "manifest", name, f"is not valid: {error.message}", fix)]
        return manifest, [*found, *self._catalogued(hashlib.sha256(body).hexdigest())]

    def _catalogued(self, sha256: str) -> Iterator[Finding]:
        """What is to say of a catalog in the folder above, where it lists this bundle."""
        above = self._parts.path[:-1].rpartition("/")[0]
        url = urlunsplit(self._parts._replace(path=f"{above}/{CATALOG_NAME}"))
        try:
            with asking(url, self._origin, {"Accept-Encoding": "gzip"}) as answer:
                text = inflated(answer.read(MAX_CATALOG_BYTES), answer.encoding) or b""
            models = read_catalog(text, url)["models"]
        except (HostError, BundleError):
            return  # there need not be one
        listed = [m for m in models if urlsplit(urljoin(url, m["url"])).path == self._parts.path]
        if listed:
            yield from self._cors(answer, CATALOG_NAME)
            yield from self._caching(answer, CATALOG_NAME, fixed=False)
        if any(model["manifest_sha256"] != sha256 for model in listed):
            said = (
                f"is another than {CATALOG_NAME} lists: the host, or a CDN, keeps an old copy of one of them"
            )
            yield Finding("warning", "stale", MANIFEST_NAME, said, "Cache-Control: no-cache")

    def files(self, manifest: Manifest) -> Iterator[Finding]:
        """Every file. Read whole are the largest of the weights, and all that are none."""
        weights = sorted(
            (name for name in manifest.files if name.endswith(".bin")),
            key=lambda name: manifest.files[name].bytes,
        )
        largest = weights[-1:]

        def check(name: str) -> list[Finding]:
            size, sha256 = manifest.files[name].bytes, manifest.files[name].sha256
            if name in largest:
                return [*self._large(name, size, sha256)]
            return [*(self._begins(name, size) if name.endswith(".bin") else self._small(name, size, sha256))]

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for found in pool.map(check, manifest.files):
                yield from found

    def _small(self, name: str, size: int, sha256: str) -> Iterator[Finding]:
        with asking(self._url(name), self._origin, {"Accept-Encoding": "gzip"}) as answer:
            yield from self._common(answer, name)
            if answer.status != 200:
                return
            wrong = wrong_bytes(name, answer, answer.read(4 * size + (1 << 20)), size, sha256)
        if wrong:
            yield wrong
        elif not answer.encoding and size > 1 << 16 and not name.endswith(".wasm"):
            said = "is sent uncompressed"
            yield Finding(
                "warning", "encoding", name, said, "Compress .json, .wgsl and .wasm: gzip or brotli."
            )

    def _begins(self, name: str, size: int) -> Iterator[Finding]:
        with asking(self._url(name), self._origin, _AS_BROWSERS) as answer:
            yield from self._missing(answer, name)
            if answer.status != 200:
                return
            length = answer.header("content-length")
            data = answer.read(64)
            if is_page(answer, data) or (length and not answer.encoding and length != str(size)):
                wrong = wrong_bytes(name, answer, data + answer.read(size), size)
                yield wrong or other_length(name, length, size)

    def _large(self, name: str, size: int, sha256: str) -> Iterator[Finding]:
        with asking(self._url(name), self._origin, _AS_BROWSERS) as answer:
            yield from self._common(answer, name)
            if answer.status != 200:
                return
            length = answer.header("content-length")
            wrong = wrong_bytes(name, answer, answer.read(size + (1 << 20)), size, sha256)
            if wrong:
                yield wrong
                return
            if answer.encoding:
                said = f"is sent with Content-Encoding: {answer.encoding}: a broken download begins anew"
                yield Finding("warning", "encoding", name, said, "Do not compress .bin.")
            elif not length:
                said = "is sent without its length"
                yield Finding("warning", "length", name, said, f"Content-Length: {size}")
        yield from self._part(name, size)

    def _part(self, name: str, size: int) -> Iterator[Finding]:
        """Whether a download can resume."""
        start = min(_RANGE_FROM, size - 1)
        headers = {"Range": f"bytes={start}-", "Accept-Encoding": "identity"}
        with asking(self._url(name), self._origin, headers) as answer:
            wanted = f"bytes {start}-{size - 1}/{size}"
            if answer.status != 206:
                said = f"is answered with {answer.status} when a part is asked for: a broken download begins anew"
                yield Finding("warning", "ranges", name, said, "Accept-Ranges: bytes")
            elif answer.header("content-range") != wanted:
                said = (
                    f"a part has Content-Range: {answer.header('content-range') or 'nothing'}, not {wanted}"
                )
                yield Finding(
                    "error", "ranges", name, said, "Send the part that was asked for, or all with 200."
                )
            else:
                exposed = answer.header("access-control-expose-headers").lower()
                lacks = [h for h in _EXPOSED.split(", ") if h.lower() not in exposed and exposed != "*"]
                if lacks and self._foreign:
                    said = f"hides {' and '.join(lacks)} from pages: a broken download begins anew"
                    yield Finding("warning", "cors", name, said, f"Access-Control-Expose-Headers: {_EXPOSED}")

    def missing(self) -> Iterator[Finding]:
        """What the host says of a file that it does not have."""
        with asking(self._url(_MISSING), self._origin) as answer:
            if answer.status < 400:
                said = f"a file that is not there is answered with {answer.status}"
                yield Finding("warning", "missing", _MISSING, said, "Answer 404, not the app's page.")
            elif self._foreign and not self._allowed(answer.header("access-control-allow-origin")):
                said = f"its {answer.status} may not be read by pages, which take it for a broken network"
                fix = "Access-Control-Allow-Origin: *, also with errors"
                yield Finding("warning", "cors", _MISSING, said, fix)

    @property
    def _foreign(self) -> bool:
        parts = urlsplit(self._origin)
        return (parts.scheme, parts.netloc) != (self._parts.scheme, self._parts.netloc)

    def _common(self, answer: Answer, name: str) -> Iterator[Finding]:
        yield from self._redirects(answer, name)
        yield from self._missing(answer, name)
        if answer.status == 200:
            yield from self._cors(answer, name)
            yield from self._caching(answer, name, fixed=True)

    def _missing(self, answer: Answer, name: str) -> Iterator[Finding]:
        if answer.status == 200:
            return
        fix = "Publish every file, and let everybody read it."
        if answer.status in (404, 410):
            fix = f"Publish every file. Or {MANIFEST_NAME} is an old copy of a CDN's: purge it."
        yield Finding("error", "status", name, f"is answered with {answer.status}", fix)

    def _redirects(self, answer: Answer, name: str) -> Iterator[Finding]:
        hops = answer.hops
        if len(hops) > 1:
            said = f"is redirected {len(hops) - 1} times, at last to {urlsplit(hops[-1].url).netloc}"
            yield Finding("warning", "redirects", name, said, "Give Engine.load the last address.")
        for before, after in pairwise(hops):
            if before.url.startswith("https://") and after.url.startswith("http://"):
                said = "is redirected from https to http, which browsers block"
                yield Finding("error", "redirects", name, said, "Redirect to https.")
            if self._foreign and not self._allowed(before.headers.get("access-control-allow-origin", "")):
                said = "is redirected by an answer that allows no other origin"
                yield Finding("error", "cors", name, said, "Access-Control-Allow-Origin: *")

    def _allowed(self, origins: str) -> bool:
        return origins.strip() in ("*", self._origin)

    def _cors(self, answer: Answer, name: str) -> Iterator[Finding]:
        allowed = answer.header("access-control-allow-origin")
        if not self._foreign or self._allowed(allowed):
            return
        said = (
            f"allows the origin {allowed} alone" if allowed else "allows no page of another origin to read it"
        )
        yield Finding("error", "cors", name, said, "Access-Control-Allow-Origin: *")

    def _caching(self, answer: Answer, name: str, *, fixed: bool) -> Iterator[Finding]:
        control = answer.header("cache-control").lower()
        age = int(match[1]) if (match := re.search(r"max-age=(\d{1,9})", control)) else None
        if fixed and "no-store" not in control and age is not None and age >= _LONG_S:
            return
        if fixed:
            said = f"may be kept for {age} s" if age is not None else "does not say how long it may be kept"
            yield Finding(
                "warning", "caching", name, said, "Cache-Control: public, max-age=31536000, immutable"
            )
        elif not any(word in control for word in ("no-cache", "no-store")) and age != 0:
            said = f"may be kept for {age} s" if age is not None else "does not say how long it may be kept"
            said += ": a browser or CDN may go on with the old one after you publish"
            yield Finding("warning", "caching", name, said, "Cache-Control: no-cache")
