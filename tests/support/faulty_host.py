"""A host that does one thing wrong with one kind of file: the URL's first two parts say which fault and which kind.

``/gzip-twice/weights/mlcweb.json`` is a bundle's manifest whose weights are compressed twice.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

KINDS = {
    "manifest": "mlcweb.json",
    "weights": "weights-",
    "tokenizer": "tokenizer.",
    "wasm": "model.",
    "kernels": "kernels.base.",
}
PAGE = b"<!doctype html><title>An app</title>" + b" " * 2000


@dataclass
class Sent:
    """An answer. ``ends``: after how many bytes of the body the connection does; ``chunked``: no length is stated."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/octet-stream"})
    ends: int | None = None
    chunked: bool = False


def _gone(body: bytes) -> Sent:
    return Sent(b"", 404)


def _page(body: bytes) -> Sent:
    return Sent(PAGE, headers={"Content-Type": "text/html"})


def _short(body: bytes) -> Sent:
    return Sent(body[: len(body) // 2])


def _cut(body: bytes) -> Sent:
    return Sent(body, ends=len(body) // 2)


def _cut_chunks(body: bytes) -> Sent:
    return Sent(body, ends=len(body) // 2, chunked=True)


def _encoded(body: bytes, encoding: str | None) -> Sent:
    sent = Sent(body)
    if encoding:
        sent.headers["Content-Encoding"] = encoding
    return sent


FAULTS: dict[str, Callable[[bytes], Sent]] = {
    "gone": _gone,
    "page": _page,
    "short": _short,
    "cut": _cut,
    "cut-chunks": _cut_chunks,
    "gzip-twice": lambda body: _encoded(gzip.compress(gzip.compress(body)), "gzip"),
    "gzip-unsaid": lambda body: _encoded(gzip.compress(body), None),
    "gzip-false": lambda body: _encoded(body, "gzip"),
}


@contextmanager
def faulty_host(bundle: Path) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None: ...

        def do_GET(self) -> None:
            fault, kind, name = [*self.path.strip("/").split("/", 2), "", ""][:3]
            file = bundle / name
            if not name or not file.is_file():
                sent = Sent(b"", 404)
            elif name.startswith(KINDS[kind]):
                sent = FAULTS[fault](file.read_bytes())
            else:
                sent = Sent(file.read_bytes())
            self.send_response(sent.status)
            for key, value in sent.headers.items():
                self.send_header(key, value)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Cache-Control", "no-store")
            if sent.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header("Content-Length", str(len(sent.body)))
            self.end_headers()
            self.wfile.write(b"%x\r\n" % len(sent.body) if sent.chunked else b"")
            self.wfile.write(sent.body[: sent.ends])
            self.close_connection = sent.ends is not None

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None: ...

    server = Quiet(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://localhost:{server.server_port}/"
    server.shutdown()
    server.server_close()
