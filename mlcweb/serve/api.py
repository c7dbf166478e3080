"""Answers OpenAI's HTTP API below /v1, by a page that has the model; all else are the files of ``mlcweb serve``.

It is for this machine alone: it answers no other Host than its own names, and web pages only where ``--cors`` names
their origin.
"""

from __future__ import annotations

import json
import re
import select
import socket
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from mlcweb.serve.handler import Handler
from mlcweb.serve.relay import Part, Relay, RelayError

API = "/v1"
MAX_BODY_BYTES = 16 << 20
HOSTS = ("127.0.0.1", "localhost", "[::1]")
METHODS = "GET, HEAD, POST, OPTIONS"
HEADER_NAMES = re.compile(r"[A-Za-z0-9\-, ]{1,1000}")
EVENTS = "text/event-stream"


class ApiHandler(Handler):
    """Subclassed with the relay, the bundles at /bundles/0/ and on, and the origins whose pages may ask."""

    relay: Relay
    bundles: Sequence[Path] = ()
    origins: Sequence[str] = ()

    def do_GET(self) -> None:
        self._route(super().do_GET)

    def do_HEAD(self) -> None:
        self._route(super().do_HEAD)

    def do_POST(self) -> None:
        self._route(self._no_file)

    do_PUT = do_PATCH = do_DELETE = do_POST

    def do_OPTIONS(self) -> None:
        self._route(self._no_file)

    def _route(self, files: Callable[[], None]) -> None:
        path = urlsplit(self.path).path
        try:
            if not self._is_ours():
                self._fail(403, "This server answers to 127.0.0.1 and localhost only.")
            elif path == API or path.startswith(f"{API}/"):
                self._preflight() if self.command == "OPTIONS" else self._api()
            elif path.startswith(f"/relay/{self.relay.token}/"):
                self._page(path.rsplit("/", 1)[1])
            else:
                self._choose_bundle()
                files()
        except RelayError as error:
            self._fail(error.status, str(error))
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self.close_connection = True

    def _is_ours(self) -> bool:
        """A page whose name was made to point here has that name as its Host."""
        host = re.sub(r":\d*$", "", self.headers.get("Host", ""))
        return host.lower() in HOSTS

    def _no_file(self) -> None:
        self._fail(404, f"There is nothing at {urlsplit(self.path).path}: the API is below {API}.")

    def _choose_bundle(self) -> None:
        self.bundle = self.bundles[0] if self.bundles else None
        match = re.match(r"/bundles/(\d{1,3})(/.*)", self.path)
        if match and int(match[1]) < len(self.bundles):
            self.bundle, self.path = self.bundles[int(match[1])], f"/bundle{match[2]}"

    def _may_ask(self) -> bool:
        """Other programs send no Origin; pages send theirs, and may read or cost something only where allowed."""
        origin = self.headers.get("Origin")
        own = origin == f"http://{self.headers.get('Host')}"
        return origin is None or own or origin in self.origins or "*" in self.origins

    def _preflight(self) -> None:
        if not self._may_ask():
            self._fail(403, "Pages of this origin may not ask: start the server with --cors and the origin.")
            return
        self.send_response(HTTPStatus.NO_CONTENT)
        self._cors()
        self.send_header("Access-Control-Allow-Methods", METHODS)
        asked = self.headers.get("Access-Control-Request-Headers", "")
        if HEADER_NAMES.fullmatch(asked):
            self.send_header("Access-Control-Allow-Headers", asked)
        if self.headers.get("Access-Control-Request-Private-Network") == "true":
            self.send_header("Access-Control-Allow-Private-Network", "true")
        self.send_header("Access-Control-Max-Age", "600")
        self.end_headers()

    def _cors(self) -> None:
        origin = self.headers.get("Origin")
        if origin and (origin in self.origins or "*" in self.origins):
            self.send_header("Access-Control-Allow-Origin", origin)
            self.send_header("Vary", "Origin")

    def _api(self) -> None:
        if not self._may_ask():
            self._fail(403, "Pages of this origin may not ask: start the server with --cors and the origin.")
            return
        body = self._body() if self.command not in ("GET", "HEAD") else None
        exchange = self.relay.ask(self.command, self.path, body)
        try:
            self._answer_from(self.relay.parts(exchange, self._hung_up))
        finally:
            self.relay.leave(exchange)

    def _body(self) -> str:
        """The request's. Raises RelayError for one that is not read, after which the connection ends."""
        length = self.headers.get("Content-Length", "")
        self.close_connection, keep = True, self.close_connection
        if not re.fullmatch(r"\d{1,15}", length) or "Transfer-Encoding" in self.headers:
            raise RelayError(411, "The body's Content-Length is missing.")
        if int(length) > MAX_BODY_BYTES:
            raise RelayError(413, f"The body has {length} bytes; at most {MAX_BODY_BYTES} are read.")
        data = self.rfile.read(int(length))
        if len(data) < int(length):
            raise ConnectionResetError
        self.close_connection = keep
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise RelayError(400, "The body is not UTF-8.") from None

    def _answer_from(self, parts: Iterator[Part]) -> None:
        """A stream of events as it comes, all else in one piece."""
        head = next(parts, None)
        if head is None:  # who asked has hung up
            self.close_connection = True
        elif head["type"].startswith(EVENTS):
            self._head(head, None)
            try:
                for part in parts:
                    self._chunk(part.get("text", "").encode())
            except RelayError as error:  # the status has gone out already
                self._chunk(f"data: {json.dumps(_body_of(error.status, str(error)))}\n\n".encode())
            self._chunk(b"", last=True)
        else:
            text = "".join(part.get("text", "") for part in parts).encode()
            self._head(head, len(text))
            if self.command != "HEAD":
                self.wfile.write(text)

    def _head(self, head: Part, length: int | None) -> None:
        self.send_response(int(head["status"]))
        self.send_header("Content-Type", head["type"])
        self.send_header("Cache-Control", "no-cache")
        if head.get("allow"):
            self.send_header("Allow", head["allow"])
        self._cors()
        if length is not None:
            self.send_header("Content-Length", str(length))
        elif self.request_version == "HTTP/1.1":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()

    def _chunk(self, data: bytes, *, last: bool = False) -> None:
        if self.request_version != "HTTP/1.1":
            self.wfile.write(data)
        elif data or last:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _hung_up(self) -> bool:
        """Whether the other side has closed the connection."""
        try:
            if not select.select([self.connection], [], [], 0)[0]:
                return False
            return not self.connection.recv(1, socket.MSG_PEEK)
        except (OSError, ValueError):
            return True

    def _page(self, what: str) -> None:
        """The page's side: /work is its stream, and what it posts to a number is that request's answer."""
        if self.command == "GET" and what == "work":
            self._stream_work()
        elif self.command == "POST" and what.isdecimal():
            parts = [json.loads(line) for line in self._body().splitlines()]
            waited_for = self.relay.answer(int(what), parts)
            self.send_response(HTTPStatus.NO_CONTENT if waited_for else HTTPStatus.GONE)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._no_file()

    def _stream_work(self) -> None:
        self._head({"status": 200, "type": "application/x-ndjson"}, None)
        work = self.relay.work()
        try:
            for line in work:
                self._chunk(line)
            self._chunk(b"", last=True)
        except RelayError:
            self.close_connection = True
        finally:
            work.close()  # type: ignore[attr-defined]

    def _fail(self, status: int, message: str) -> None:
        body = json.dumps(_body_of(status, message)).encode()
        if self.command not in ("GET", "HEAD"):
            self.close_connection = True  # its body may not have been read
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if status in (429, 503):
            self.send_header("Retry-After", "5")
        if self.close_connection:
            self.send_header("Connection", "close")
        self._cors()
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Without the page's own requests."""
        if not getattr(self, "path", "").startswith("/relay/"):
            super().log_request(code, size)


def _body_of(status: int, message: str) -> dict[str, dict[str, str | None]]:
    """OpenAI's body of an error."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def api_handler(relay: Relay, bundles: Sequence[Path], origins: Sequence[str]) -> type[ApiHandler]:
    """The handler of one server."""
    bound = {"relay": relay, "bundles": tuple(bundles), "origins": tuple(origins)}
    return type("BoundApiHandler", (ApiHandler,), bound)
