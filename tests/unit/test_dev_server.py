"""``make dev``'s server: pages reload themselves by a script of the server's own, under the usual policy."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlcweb.serve import serving
from mlcweb.serve.handler import POLICY
from mlcweb.serve.server import Server
from tests.support.program import ROOT, program

dev = program("scripts/dev.py")
PATIENCE = 30  # seconds; an event comes within a second


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    (tmp_path / "chat.html").write_text("<html><head><title>x</title></head><body></body></html>")
    (tmp_path / "chat.js").write_text("1")
    return tmp_path


@pytest.fixture
def running(engine: Path) -> Iterator[Server]:
    handler = type("Bound", (dev.Reloading,), {"changes": dev.Changes(engine)})
    with serving(None, engine=engine, handler=handler) as server:
        yield server


def ask(server: Server, target: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.request("GET", target)
    return connection.getresponse()


def test_a_page_gets_the_script_and_keeps_the_policy(running: Server, engine: Path) -> None:
    page = ask(running, "/")
    body = page.read().decode()
    assert dev.TAG in body and body.replace(dev.TAG, "") == (engine / "chat.html").read_text()
    assert page.headers["Content-Security-Policy"] == POLICY
    assert page.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    script = ask(running, dev.SCRIPT)
    assert script.headers["Content-Type"].startswith("text/javascript")
    assert dev.EVENTS in script.read().decode()


def test_other_files_are_served_as_ever(running: Server) -> None:
    assert ask(running, "/chat.js").read() == b"1"
    assert ask(running, "/gone.js").status == 404
    assert ask(running, "/../secret").status == 404


def test_an_event_follows_each_build(running: Server, engine: Path) -> None:
    events = ask(running, dev.EVENTS)
    assert events.headers["Content-Type"] == "text/event-stream"
    assert events.readline() == b": connected\n"
    for text in ("22", "333"):
        (engine / "chat.js").write_text(text)
        lines = iter(events.readline, b"")
        assert next(line for line in lines if line.startswith(b"data")) == b"data: built\n"
    events.close()


def test_the_package_has_nothing_of_it() -> None:
    names = (dev.SCRIPT.encode(), dev.EVENTS.encode())
    for path in (ROOT / "mlcweb").rglob("*"):
        if path.is_file() and path.suffix in (".py", ".js", ".html"):
            assert not any(name in path.read_bytes() for name in names), path
