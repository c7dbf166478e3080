"""A static server that misbehaves when told to: drops connections, damages files, is late, gone, or logs people in."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".json": "application/json",
    ".wasm": "application/wasm",
}


class EngineServer:
    """Serves the engine's pages at / and a bundle at /bundle/."""

    def __init__(self, engine: Path, bundle: Path) -> None:
        self.hits: Counter[str] = Counter()
        self.damage: set[str] = set()
        self.drop_once: set[str] = set()
        self.ranges: list[str] = []
        self.delay = 0.0
        self.down = False
        self.portal = False
        self.origins = ""
        """Access-Control-Allow-Origin of the bundle's files."""
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None: ...

            def do_GET(self) -> None:
                path = self.path.split("?")[0]
                name = path.rsplit("/", 1)[-1]
                file = (bundle if path.startswith("/bundle/") else engine) / name
                in_bundle = path.startswith("/bundle/")
                outer.hits[name] += 1
                if in_bundle:
                    outer.asked.append(self.path)
                if in_bundle and outer.delay:
                    time.sleep(outer.delay)
                if not file.is_file() or (outer.down and in_bundle):
                    self.send_response(503 if file.is_file() else 404)
                    self.send_header("Content-Length", "0")
                    if outer.origins:
                        self.send_header("Access-Control-Allow-Origin", outer.origins)
                    self.end_headers()
                    return
                data = file.read_bytes()
                kind = TYPES.get(file.suffix, "application/octet-stream")
                if outer.portal and in_bundle:
                    data, kind = b"<!doctype html><title>Log in</title>", "text/html"
                if name in outer.damage:
                    data = bytes([data[0] ^ 1]) + data[1:]
                start = 0
                if found := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
                    start = int(found[1])
                    outer.ranges.append(f"{name}:{start}")
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
                else:
                    self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data) - start))
                self.send_header("Cache-Control", "no-store")
                if in_bundle and outer.origins:
                    self.send_header("Access-Control-Allow-Origin", outer.origins)
                self.end_headers()
                if name in outer.drop_once:
                    outer.drop_once.discard(name)
                    self.wfile.write(data[: len(data) // 2])
                    self.wfile.flush()
                    time.sleep(
                        0.3
                    )  # the browser forgets what it has not handed to the page when the error comes
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.wfile.write(data[start:])

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None: ...

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://localhost:{self.server.server_port}/"

    def __enter__(self) -> EngineServer:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.shutdown()
        self.server.server_close()
