"""``make dev``: serves a bundle's page; a change in runtime-js builds the engine again and reloads the page.

python scripts/dev.py dist/SmolLM2-135M-Instruct-gguf [--port 8000]

esbuild watches the source. The page is told through server-sent events by a script of this server's own, so the
policy stays as strict as in ``mlcweb serve``, and neither the package nor the built engine has anything of it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from mlcweb.errors import MlcwebError
from mlcweb.serve import engine_folder, serving
from mlcweb.serve.files import find_file
from mlcweb.serve.handler import POLICY, Handler

ROOT = Path(__file__).resolve().parents[1]
SCRIPT, EVENTS = "/dev-reload.js", "/dev-events"
RELOAD = f'new EventSource("{EVENTS}").onmessage = () => location.reload();\n'
TAG = f'<script type="module" src="{SCRIPT}"></script>'
POLL_SECONDS = 0.2
ALIVE_SECONDS = 10.0


class Changes:
    """Counts the builds of a folder: a build is over when its files stay as they are from one look to the next."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._told = threading.Condition()
        self.count = 0
        threading.Thread(target=self._watch, name="dev-watch", daemon=True).start()

    def wait(self, after: int, seconds: float) -> int:
        """The count, when it is above ``after`` or the time is up."""
        with self._told:
            self._told.wait_for(lambda: self.count > after, seconds)
            return self.count

    def _watch(self) -> None:
        shown = before = self._state()
        while True:
            time.sleep(POLL_SECONDS)
            now = self._state()
            if now == before and now != shown and now:
                shown = now
                with self._told:
                    self.count += 1
                    self._told.notify_all()
            before = now

    def _state(self) -> dict[str, tuple[int, int]]:
        """Names with times and sizes; empty while a build moves files."""
        try:
            facts = {path.name: path.stat() for path in self._folder.iterdir()}
        except FileNotFoundError:
            return {}
        return {name: (fact.st_mtime_ns, fact.st_size) for name, fact in facts.items()}


class Reloading(Handler):
    """The usual files; pages get a script more, which reloads them."""

    changes: Changes

    def _answer(self, *, with_body: bool) -> None:
        path = urlsplit(self.path).path
        if path == SCRIPT:
            self._send(RELOAD.encode(), "text/javascript; charset=utf-8", with_body)
        elif path == EVENTS:
            self._stream()
        else:
            served = find_file(self.path, self.engine, self.bundle)
            if served is None or served.path.suffix != ".html":
                super()._answer(with_body=with_body)
                return
            page = served.path.read_text(encoding="utf-8").replace("</head>", f"{TAG}</head>", 1)
            self._send(page.encode(), served.content_type, with_body)

    def _send(self, body: bytes, kind: str, with_body: bool) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _stream(self) -> None:
        """An event for each build, until the page goes away."""
        self.close_connection = True
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        count = self.changes.count
        try:
            while True:
                self.wfile.write(b": connected\n\n")  # a comment, which finds out whether anybody listens
                now = self.changes.wait(count, ALIVE_SECONDS)
                if now > count:
                    self.wfile.write(b"data: built\n\n")
                count = now
        except OSError:
            return


@contextmanager
def building() -> Iterator[None]:
    """esbuild, watching, while the block runs."""
    builder = subprocess.Popen(
        ["node", "scripts/build.mjs", "--watch"], cwd=ROOT / "runtime-js", stdin=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        builder.terminate()
        builder.wait(10)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path, help="its folder, such as `make demo` makes")
    parser.add_argument("--port", type=int, default=8000, help="where to listen on this machine (8000)")
    arguments = parser.parse_args()
    if not (arguments.bundle / "mlcweb.json").is_file():
        parser.error(f"{arguments.bundle} is no bundle: run `make demo`, or name one with BUNDLE=")
    try:
        with building():
            engine = engine_folder()
            handler = type("BoundReloading", (Reloading,), {"changes": Changes(engine)})
            with serving(arguments.bundle, port=arguments.port, handler=handler) as server:
                print(f"Local:   {server.url}\nbuilding on change; Ctrl-C stops it", flush=True)
                threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    except MlcwebError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
