"""Answers one request: GET and HEAD of static files, with ranges, caching and the headers a page needs."""

from __future__ import annotations

import os
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from mlcweb.serve.files import CHAT_PAGE, Served, find_file, parse_range

SEND_BYTES = 1 << 20  # at a time
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "worker-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "connect-src 'self'",  # the last, to which an origin may be added
    )
)
ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

_CONTROLS = {
    code: f"\\x{code:02x}" for code in (*range(32), 127)
}  # a request must not move the terminal's cursor


class Handler(BaseHTTPRequestHandler):
    """Subclassed with the folders to serve; ``log`` is told each request's line.

    ``connect`` is another origin that the page may fetch from. ``index`` is the page at ``/``.
    """

    engine: Path
    bundle: Path | None = None
    index: str = CHAT_PAGE
    connect: str | None = None
    log: Callable[[str], None] | None = None
    protocol_version = "HTTP/1.1"
    server_version = "mlcweb"
    sys_version = ""
    timeout = 120

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        served = find_file(self.path, self.engine, self.bundle, self.index)
        if served is None:
            self._refuse(HTTPStatus.NOT_FOUND, "not found\n", with_body)
            return
        try:
            with served.path.open("rb") as file:
                length = os.fstat(file.fileno()).st_size
                try:
                    part = parse_range(self.headers.get("Range"), length)
                except ValueError:
                    self._refuse(
                        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "", with_body, f"bytes */{length}"
                    )
                    return
                start, end = part or (0, length - 1)
                self._send_head(served, length, part)
                if with_body:
                    file.seek(start)
                    self._copy(file.fileno(), end - start + 1)
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self.close_connection = True  # the page went away: nobody to answer
        except OSError:
            self._refuse(HTTPStatus.NOT_FOUND, "cannot be read\n", with_body)

    def _send_head(self, served: Served, length: int, part: tuple[int, int] | None) -> None:
        self.send_response(HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK)
        self.send_header("Content-Type", served.content_type)
        self.send_header("Content-Length", str(part[1] - part[0] + 1 if part else length))
        self.send_header("Accept-Ranges", "bytes")
        if part:
            self.send_header("Content-Range", f"bytes {part[0]}-{part[1]}/{length}")
        immutable = "public, max-age=31536000, immutable"
        self.send_header("Cache-Control", immutable if served.immutable else "no-cache")
        if served.content_type.startswith("text/html"):
            more = f" {self.connect}" if self.connect else ""
            self.send_header("Content-Security-Policy", POLICY + more)
        self.end_headers()

    def _copy(self, source: int, length: int) -> None:
        with os.fdopen(os.dup(source), "rb", buffering=0) as file:
            while length:
                data = file.read(min(SEND_BYTES, length))
                if not data:
                    self.close_connection = True  # the file shrank: fewer bytes than promised
                    return
                self.wfile.write(data)
                length -= len(data)

    def _refuse(self, status: HTTPStatus, text: str, with_body: bool, content_range: str = "") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def end_headers(self) -> None:
        for name, value in ISOLATION.items():
            self.send_header(name, value)
        super().end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Silent unless asked: a loading page sends dozens of requests."""
        if self.log is not None:
            asked = self.headers.get("Range") if hasattr(self, "headers") else None
            line = f"{self.requestline} {int(code)}{f' ({asked})' if asked else ''}"
            self.log(line.encode("ascii", "backslashreplace").decode().translate(_CONTROLS))

    def log_message(self, format: str, *args: object) -> None:
        """Errors are in the status that ``log_request`` shows."""


class AnyOriginHandler(Handler):
    """Lets pages of any origin read what it serves: the harness of a remote browser is not on this server."""

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Expose-Headers", "Content-Range, Retry-After")
        super().end_headers()
