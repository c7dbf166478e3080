"""Asks a host for a file as a browser does: with an origin, and following redirects one by one."""

from __future__ import annotations

import http.client
import ssl
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from mlcweb import __version__
from mlcweb.errors import HostError

SECONDS = 30
MOST_REDIRECTS = 10
_PIECE = 1 << 16


@dataclass(frozen=True)
class Hop:
    """An answer on the way: its URL, its status and its headers, whose names are in lower case."""

    url: str
    status: int
    headers: Mapping[str, str]


class Answer:
    """The last hop, those that led to it, and the body as it is sent."""

    def __init__(self, hops: list[Hop], response: http.client.HTTPResponse, http2: bool | None) -> None:
        self.hops, self._response, self.http2 = hops, response, http2
        self.broke = False
        """Whether the body ended before its end."""
        self._received = 0

    @property
    def url(self) -> str:
        return self.hops[-1].url

    @property
    def status(self) -> int:
        return self.hops[-1].status

    def header(self, name: str) -> str:
        """A header of the last hop; empty where it has none."""
        return self.hops[-1].headers.get(name, "")

    @property
    def encoding(self) -> str:
        """How the body is compressed; empty for not at all."""
        return self.header("content-encoding").strip().lower().replace("identity", "")

    def read(self, most: int) -> bytes:
        """At most so many bytes of the body, as they are sent; ``broke`` says whether more should have come."""
        parts, left = list[bytes](), most
        try:
            while left > 0 and (part := self._response.read(min(left, _PIECE))):
                parts.append(part)
                left -= len(part)
        except http.client.IncompleteRead as error:
            parts.append(error.partial)
            self.broke = True
        except (OSError, http.client.HTTPException):
            self.broke = True
        data = b"".join(parts)
        stated = self.header("content-length")
        self._received += len(data)
        if left > 0 and stated.isdecimal() and self._received < int(stated):
            self.broke = True
        return data


@contextmanager
def asking(url: str, origin: str, headers: Mapping[str, str] | None = None) -> Iterator[Answer]:
    """The host's answer to a GET of a page on ``origin``. Raises HostError for one that cannot be reached."""
    hops: list[Hop] = []
    asked = {"Origin": origin, "User-Agent": f"mlcweb/{__version__}", "Accept": "*/*", **(headers or {})}
    while True:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise HostError(
                f"{url!r} is no http:// or https:// address", hint="Give the bundle's URL in full."
            )
        connection, http2 = _connect(parts.scheme, parts.hostname, parts.port, url)
        try:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            try:
                connection.request("GET", path, headers=asked)
                response = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                raise HostError(
                    f"{url} cannot be reached: {error or type(error).__name__}",
                    hint="Check the address, and that the server runs.",
                ) from error
            named = {name.lower(): value for name, value in response.getheaders()}
            hops.append(Hop(url, response.status, named))
            target = named.get("location")
            if response.status not in (301, 302, 303, 307, 308) or not target:
                yield Answer(hops, response, http2)
                return
            if len(hops) > MOST_REDIRECTS:
                raise HostError(f"{hops[0].url} redirects more than {MOST_REDIRECTS} times")
            url = urljoin(url, target)
        finally:
            connection.close()


def _connect(
    scheme: str, host: str, port: int | None, url: str
) -> tuple[http.client.HTTPConnection, bool | None]:
    """A connection, and whether the host offers HTTP/2, which browsers use over https alone."""
    if scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=SECONDS), None
    offered = ssl.create_default_context()
    offered.set_alpn_protocols(["h2", "http/1.1"])
    probe = http.client.HTTPSConnection(host, port, timeout=SECONDS, context=offered)
    try:
        probe.connect()
        http2 = isinstance(probe.sock, ssl.SSLSocket) and probe.sock.selected_alpn_protocol() == "h2"
    except ssl.SSLError as error:
        raise HostError(
            f"{url}: browsers will not trust this host: {error.reason or error}", hint="Mend its certificate."
        ) from error
    except OSError as error:
        raise HostError(
            f"{url} cannot be reached: {error}", hint="Check the address, and that the server runs."
        ) from error
    finally:
        probe.close()
    return http.client.HTTPSConnection(host, port, timeout=SECONDS), http2


def inflated(data: bytes, encoding: str) -> bytes | None:
    """A whole body that was sent in an encoding; None for one that cannot be undone here, or is damaged."""
    if not encoding:
        return data
    if encoding not in ("gzip", "x-gzip", "deflate"):
        return None
    try:
        return zlib.decompress(data, wbits=zlib.MAX_WBITS | 32)
    except zlib.error:
        return None
