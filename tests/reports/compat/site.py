"""Serves an example's folder as a bundler's server would: its scripts bundled, and one model in place of all."""

from __future__ import annotations

import mimetypes
import threading
import urllib.parse
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

from tests.reports.compat.folder import Example


class CompatSite:
    """``said`` counts what the example's engines told: loads, and answers begun and ended."""

    def __init__(self, model: Path) -> None:
        self.model = model
        self.example: Example | None = None
        self.said: Counter[str] = Counter()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None: ...

            def do_GET(self) -> None:
                path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
                if path.startswith("/said/"):
                    outer.said[path.removeprefix("/said/")] += 1
                    self.answer(b"", "text/plain")
                    return
                file = outer.file(path)
                if file is None:
                    self.answer(b"", "text/plain", 404)
                    return
                kind = "text/javascript" if file.suffix == ".js" else mimetypes.guess_type(file.name)[0]
                self.answer(file.read_bytes(), kind or "application/octet-stream")

            def answer(self, data: bytes, kind: str, status: int = 200) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(data)

        self._server = ThreadingHTTPServer(("localhost", 0), Handler)
        self.url = f"http://localhost:{self._server.server_port}/"

    def file(self, path: str) -> Path | None:
        """What a path means: a bundled script, a file of the example, or one of the model's, wherever it is."""
        assert self.example is not None
        file = (self.example.folder / path.lstrip("/")).resolve()
        if file in self.example.built:
            return self.example.built[file]
        if file.is_file() and file.is_relative_to(self.example.folder):
            return file
        return self.of_model(path)

    def of_model(self, path: str) -> Path | None:
        file = self.model / path.rsplit("/", 1)[-1]
        return file if file.is_file() else None

    def __enter__(self) -> CompatSite:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
