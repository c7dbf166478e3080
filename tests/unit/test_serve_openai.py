"""OpenAI's API over real sockets, with a page that only pretends to have a model."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlcweb.cli.command import run
from mlcweb.serve import relay as relay_module
from mlcweb.serve import serving
from mlcweb.serve.api import MAX_BODY_BYTES, api_handler
from mlcweb.serve.relay import Relay, RelayError
from mlcweb.serve.server import Server

JSON = {"status": 200, "type": "application/json"}
EVENTS = {"status": 200, "type": "text/event-stream; charset=utf-8"}
CHAT = "/v1/chat/completions"


class FakePage:
    """Reads the stream of work as the real page does; ``answers`` says what it posts for a task."""

    def __init__(self, server: Server, relay: Relay) -> None:
        self.base = f"/relay/{relay.token}/"
        self.port = server.port
        self.tasks: list[dict[str, Any]] = []
        self.aborted: list[int] = []
        self.statuses: list[int] = []
        self.answers: Callable[[dict[str, Any]], Iterator[list[dict[str, Any]]]] = self.echo
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        self.connection.request("GET", f"{self.base}work")
        self.stream = self.connection.getresponse()
        assert self.stream.status == 200
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    @staticmethod
    def echo(task: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
        yield [JSON, {"text": json.dumps({"asked": task})}, {"end": True}]

    def _read(self) -> None:
        for line in self.stream:
            if not line.strip():
                continue
            task = json.loads(line)
            if "abort" in task:
                self.aborted.append(task["abort"])
                continue
            self.tasks.append(task)
            threading.Thread(target=self._answer, args=(task,), daemon=True).start()

    def _answer(self, task: dict[str, Any]) -> None:
        for parts in self.answers(task):
            status = self.post(task["id"], parts)
            self.statuses.append(status)
            if status != 204:
                return

    def post(self, number: object, parts: list[dict[str, Any]]) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        body = "\n".join(json.dumps(part) for part in parts)
        connection.request("POST", f"{self.base}{number}", body)
        status = connection.getresponse().status
        connection.close()
        return status


@pytest.fixture
def relay() -> Iterator[Relay]:
    made = Relay()
    yield made
    made.close()


@pytest.fixture
def server(tmp_path: Path, relay: Relay) -> Iterator[Server]:
    engine = tmp_path / "engine"
    engine.mkdir()
    (engine / "chat.html").write_text("<title>chat</title>")
    bundles = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mlcweb.json").write_text(json.dumps({"name": name}))
        bundles.append(tmp_path / name)
    handler = api_handler(relay, bundles, ["https://app.example"])
    with serving(bundles[0], engine=engine, handler=handler) as running:
        yield running


@pytest.fixture
def page(server: Server, relay: Relay) -> FakePage:
    return FakePage(server, relay)


def ask(
    server: Server, method: str, path: str, body: bytes | str | None = None, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response, data


def until(condition: Callable[[], object]) -> None:
    for _ in range(200):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not come")


def raw(server: Server, text: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    connection.sendall(text.encode())
    return connection


def test_a_request_reaches_the_page_and_its_answer_comes_back(server: Server, page: FakePage) -> None:
    response, body = ask(server, "POST", f"{CHAT}?x=1", '{"a": "é"}'.encode())
    assert (response.status, response.headers["Content-Type"]) == (200, "application/json")
    asked = json.loads(body)["asked"]
    assert (asked["method"], asked["path"], asked["body"]) == ("POST", f"{CHAT}?x=1", '{"a": "é"}')
    assert json.loads(ask(server, "GET", "/v1/models")[1])["asked"]["body"] is None
    head, nothing = ask(server, "HEAD", "/v1/models")
    assert (head.status, nothing) == (200, b"")
    until(lambda: len(page.statuses) == 3)
    assert page.statuses == [204] * 3 and page.aborted == []


def test_statuses_and_the_allowed_method_pass_through(server: Server, page: FakePage) -> None:
    page.answers = lambda task: iter([[{**JSON, "status": 405, "allow": "POST"}, {"end": True}]])
    response, _ = ask(server, "DELETE", CHAT, "")
    assert (response.status, response.headers["Allow"]) == (405, "POST")


def test_events_come_one_by_one(server: Server, page: FakePage) -> None:
    go = threading.Event()

    def answers(task: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
        yield [EVENTS, {"text": "data: 1\n\n"}]
        assert go.wait(20)
        yield [{"text": "data: 2\n\n"}, {"text": "data: [DONE]\n\n"}, {"end": True}]

    page.answers = answers
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    for _ in range(2):  # on one connection
        go.clear()
        connection.request("POST", CHAT, "{}")
        response = connection.getresponse()
        assert response.headers["Content-Type"] == EVENTS["type"]
        assert response.read1() == b"data: 1\n\n"
        go.set()
        assert response.read() == b"data: 2\n\ndata: [DONE]\n\n"
    with raw(server, f"POST {CHAT} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}") as old:
        said = b"".join(iter(lambda: old.recv(4096), b""))
    assert said.endswith(b"\r\n\r\ndata: 1\n\ndata: 2\n\ndata: [DONE]\n\n")
    assert b"chunked" not in said


def test_who_hangs_up_ends_the_answer(server: Server, page: FakePage) -> None:
    def endless(task: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
        yield [EVENTS]
        while True:
            yield [{"text": "data: la\n\n"}]
            time.sleep(0.01)

    silent = threading.Event()

    def nothing(task: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
        silent.wait(20)
        yield [JSON, {"end": True}]

    for answers, reads in ((endless, True), (nothing, False)):
        page.answers = answers
        connection = raw(server, f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}")
        if reads:
            assert connection.recv(10)
        else:
            until(lambda: len(page.tasks) == 2)
        connection.close()
        until(lambda: page.tasks[-1]["id"] in page.aborted)
    silent.set()
    until(lambda: page.statuses.count(410) == 2)  # nobody waits for the rest
    assert page.post(99, [JSON]) == 410


def test_a_slow_reader_holds_the_page_back(server: Server, page: FakePage) -> None:
    sent: list[int] = []

    def many(task: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
        yield [EVENTS]
        for i in range(200):
            yield [{"text": "x" * 200_000}]
            sent.append(i)
        yield [{"end": True}]

    page.answers = many
    with raw(server, f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}"):
        until(lambda: len(sent) > 5)
        before = -1
        while before != len(sent):
            before = len(sent)
            time.sleep(0.5)
        assert before < 150
    until(lambda: page.aborted)


def test_it_is_for_this_machine_alone(server: Server, page: FakePage) -> None:
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[::2]:80"):
        for path in ("/v1/models", "/", page.base + "work"):
            response, body = ask(server, "GET", path, Host=host)
            assert (response.status, "error" in json.loads(body)) == (403, True), host
    for host in ("127.0.0.1:1", "LOCALHOST", "localhost:8000", "[::1]:1"):
        assert ask(server, "GET", "/v1/models", Host=host)[0].status == 200
    with raw(server, "GET /v1/models HTTP/1.0\r\n\r\n") as nameless:
        assert b" 403 " in nameless.recv(100)


def test_other_pages_may_not_ask_unless_they_are_named(server: Server, page: FakePage) -> None:
    refused, body = ask(server, "POST", CHAT, "{}", Origin="https://evil.example")
    assert refused.status == 403 and b"--cors" in body
    assert "Access-Control-Allow-Origin" not in refused.headers
    assert ask(server, "POST", CHAT, "{}", Origin="null")[0].status == 403
    assert ask(server, "OPTIONS", CHAT, Origin="https://evil.example")[0].status == 403
    assert page.tasks == []
    own, _ = ask(server, "POST", CHAT, "{}", Origin=f"http://127.0.0.1:{server.port}")
    assert own.status == 200
    allowed, _ = ask(server, "POST", CHAT, "{}", Origin="https://app.example")
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert allowed.headers["Vary"] == "Origin"
    preflight, _ = ask(
        server,
        "OPTIONS",
        CHAT,
        Origin="https://app.example",
        Access_Control_Request_Headers="authorization,content-type,x-stainless-os",
        Access_Control_Request_Private_Network="true",
    )
    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Headers"] == "authorization,content-type,x-stainless-os"
    assert preflight.headers["Access-Control-Allow-Private-Network"] == "true"


def test_bodies_that_are_not_read(server: Server, page: FakePage) -> None:
    assert ask(server, "POST", CHAT, b"\xff")[0].status == 400
    large = {"Content-Length": str(MAX_BODY_BYTES + 1)}
    for headers, status in (
        (large, 413),
        ({"Content-Length": "-1"}, 411),
        ({"Content-Length": "x"}, 411),
        ({}, 411),
        ({"Content-Length": "1", "Transfer-Encoding": "chunked"}, 411),
    ):
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        with raw(server, f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n") as connection:
            said = b"".join(iter(lambda c=connection: c.recv(4096), b""))  # type: ignore[misc]
        assert said.startswith(b"HTTP/1.1 %d " % status), headers
        assert b'"error"' in said
    with raw(server, f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{{") as short:
        short.shutdown(socket.SHUT_WR)
        assert short.recv(10) == b""
    assert page.tasks == []


def test_without_a_page_and_when_it_goes(
    server: Server, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "PAGE_SECONDS", 0.05)
    early, body = ask(server, "GET", "/v1/models")
    assert (early.status, early.headers["Retry-After"]) == (503, "5")
    assert "not loaded yet" in json.loads(body)["error"]["message"]
    monkeypatch.setattr(relay_module, "ALIVE_SECONDS", 0.05)
    page = FakePage(server, relay)
    until(lambda: relay._page)
    with pytest.raises(RelayError, match="at work already"):
        next(relay.work())
    page.answers = lambda task: iter([[EVENTS, {"text": "data: 1\n\n"}]])
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("POST", CHAT, "{}")
    response = connection.getresponse()
    assert response.read1() == b"data: 1\n\n"
    sock = page.connection.sock or page.stream.fp.raw._sock
    sock.shutdown(socket.SHUT_RDWR)
    assert b"has gone" in response.read()
    assert ask(server, "GET", "/v1/models")[0].status == 503
    assert FakePage(server, relay)  # another may come
    assert ask(server, "GET", "/v1/models")[0].status == 200


def test_too_many_requests_and_the_end(
    server: Server, relay: Relay, page: FakePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "MOST_WAITING", 1)
    page.answers = lambda task: iter([])
    statuses: list[int] = []
    waiting = threading.Thread(target=lambda: statuses.append(ask(server, "POST", CHAT, "{}")[0].status))
    waiting.start()
    until(lambda: page.tasks)
    busy, _ = ask(server, "POST", CHAT, "{}")
    assert (busy.status, busy.headers["Retry-After"]) == (429, "5")
    relay.close()
    waiting.join(20)
    assert statuses == [503]
    page.thread.join(20)
    assert not page.thread.is_alive()
    assert ask(server, "POST", CHAT, "{}")[0].status == 503


def test_files_and_bundles_are_there_too(server: Server, page: FakePage) -> None:
    assert ask(server, "GET", "/")[1] == b"<title>chat</title>"
    names = [
        json.loads(ask(server, "GET", f"/{path}/mlcweb.json")[1])["name"]
        for path in ("bundles/0", "bundles/1", "bundle")
    ]
    assert names == ["one", "two", "one"]
    for path in ("/bundles/2/mlcweb.json", "/bundles/1/../one/mlcweb.json", "/relay/wrong/work"):
        assert ask(server, "GET", path)[0].status == 404
    for path in ("/", "/relay/wrong/1", page.base + "work", "/v1x"):
        assert ask(server, "POST", path, "{}")[0].status == 404


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--api", "--host", "0.0.0.0"], "--api listens on 127.0.0.1 only"),
        (["--cors", "https://a.example"], "--cors needs --api"),
        (["--tier", "base"], "--tier needs --api"),
        (["--context-length", "64"], "--context-length needs --api"),
    ],
)
def test_what_the_verb_refuses(
    tmp_path: Path, args: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mlcweb.json").write_text("{}")
    assert run(["serve", str(tmp_path), *args]) == 2
    assert said in capsys.readouterr().err
    assert run(["serve", str(tmp_path), str(tmp_path)]) == 2
    assert "more than one bundle needs --api" in capsys.readouterr().err
