"""Runs the server: binds it to a port, runs it in a thread, and stops it with the block that opened it."""

from __future__ import annotations

import errno
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path

from mlcweb.errors import BundleError, MlcwebError
from mlcweb.serve.files import page_for
from mlcweb.serve.handler import Handler

EVERYWHERE = ("0.0.0.0", "::", "")  # hosts that mean all of this machine's addresses
ENGINE = Path(__file__).resolve().parent.parent / "engine"


class ServeError(MlcwebError):
    """The port cannot be listened on."""

    code = "serve"


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    # Without this a second server on a busy port succeeds on some systems.
    allow_reuse_address = True
    allow_reuse_port = False

    def server_bind(self) -> None:
        # The base class looks the host's name up, which takes seconds where there is no DNS.
        socket.socket.setsockopt(self.socket, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that broke is the browser's business."""


class Server:
    """Listening, and where."""

    def __init__(self, listener: _Listener, host: str) -> None:
        self._listener = listener
        self.host = host
        self.port = listener.server_port

    @property
    def url(self) -> str:
        """Where to point a browser: an address that counts as a secure origin, if there is one."""
        return self._at("localhost" if self.host in EVERYWHERE else self.host)

    @property
    def local(self) -> str | None:
        """Its address on this machine; None where it listens on another address alone."""
        return self.url if self.host in EVERYWHERE or _is_loopback(self.host) else None

    @property
    def network(self) -> str | None:
        """Its address for other machines; None where they cannot reach it, or no network is there."""
        if _is_loopback(self.host):
            return None
        host = _outward_address(self.host) if self.host in EVERYWHERE else self.host
        return self._at(host) if host else None

    def _at(self, host: str) -> str:
        return f"http://[{host}]:{self.port}/" if ":" in host else f"http://{host}:{self.port}/"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _outward_address(host: str) -> str | None:
    """This machine's address on the way out. Connecting a datagram socket sends nothing."""
    family, beyond = (socket.AF_INET6, "2001:db8::1") if host == "::" else (socket.AF_INET, "192.0.2.1")
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((beyond, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return None


def engine_folder() -> Path:
    """The built engine inside the package."""
    if not (ENGINE / "harness.html").is_file():
        raise BundleError(
            "the JavaScript engine is not built",
            hint="in a clone, run `make engine`; an installed mlcweb contains it: install it again",
        )
    return ENGINE


@contextmanager
def serving(
    bundle: Path | None,
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    engine: Path | None = None,
    log: Callable[[str], None] | None = None,
    handler: type[Handler] = Handler,
    connect: str | None = None,
) -> Iterator[Server]:
    """Serve ``bundle`` and the engine in a thread while the block runs; port 0 takes any free one.

    ``log`` is called with a line for each request, from the thread that answers it. ``connect`` is another origin that
    the page may fetch from.
    """
    bound = {
        "engine": engine or engine_folder(),
        "bundle": bundle,
        "index": page_for(bundle),
        "connect": connect,
        "log": log and staticmethod(log),
    }
    handler = type("BoundHandler", (handler,), bound)
    listener_type = (
        type("V6Listener", (_Listener,), {"address_family": socket.AF_INET6}) if ":" in host else _Listener
    )
    try:
        listener = listener_type((host, port), handler)
    except OSError as error:
        raise _cannot_listen(error, host, port) from error
    thread = threading.Thread(target=listener.serve_forever, args=(0.1,), name="mlcweb-serve", daemon=True)
    thread.start()
    try:
        yield Server(listener, host)
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


def _cannot_listen(error: OSError, host: str, port: int) -> ServeError:
    if error.errno == errno.EADDRINUSE:
        free = port + 1 if port < 65535 else 8000
        return ServeError(
            f"port {port} on {host} is in use", hint=f"take another, such as `--port {free}`, or 0 for any"
        )
    if error.errno == errno.EACCES:
        return ServeError(f"port {port} needs root", hint="take one above 1023, such as `--port 8000`")
    return ServeError(f"cannot listen on {host}:{port}: {error.strerror or error}", hint="check --host")
