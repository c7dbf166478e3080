"""The local server over a real socket: headers, ranges, raw paths, a busy port."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlcweb.cli.command import run
from mlcweb.errors import BundleError
from mlcweb.serve import server as server_module
from mlcweb.serve import serving
from mlcweb.serve.server import ServeError, Server


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Server]:
    engine, bundle = tmp_path / "engine", tmp_path / "bundle"
    engine.mkdir()
    bundle.mkdir()
    (engine / "chat.html").write_text("<title>chat</title>")
    (bundle / "mlcweb.json").write_text("{}")
    (bundle / "empty.bin").write_bytes(b"")
    (bundle / "weights-000.0123abcd.bin").write_bytes(bytes(range(256)) * 9000)
    (tmp_path / "secret.txt").write_text("secret")
    with serving(bundle, engine=engine) as running:
        yield running


def ask(
    server: Server, target: str, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.putrequest(method, target, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def test_pages_are_isolated_and_run_only_their_own_scripts(running: Server) -> None:
    response, body = ask(running, "/")
    assert (response.status, body) == (200, b"<title>chat</title>")
    assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert response.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "'unsafe-eval'" not in policy


def test_caching(running: Server) -> None:
    assert "immutable" in ask(running, "/bundle/weights-000.0123abcd.bin")[0].headers["Cache-Control"]
    assert ask(running, "/bundle/mlcweb.json")[0].headers["Cache-Control"] == "no-cache"


def test_whole_file_head_and_range(running: Server) -> None:
    target = "/bundle/weights-000.0123abcd.bin"
    whole, body = ask(running, target)
    assert (whole.status, body) == (200, bytes(range(256)) * 9000)
    head, nothing = ask(running, target, "HEAD")
    assert (head.status, head.headers["Content-Length"], nothing) == (200, str(len(body)), b"")
    part, middle = ask(running, target, Range="bytes=254-257")
    assert (part.status, middle) == (206, b"\xfe\xff\x00\x01")
    assert part.headers["Content-Range"] == f"bytes 254-257/{len(body)}"
    beyond, _ = ask(running, target, Range=f"bytes={len(body)}-")
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{len(body)}")


def test_an_empty_file(running: Server) -> None:
    response, body = ask(running, "/bundle/empty.bin")
    assert (response.status, response.headers["Content-Length"], body) == (200, "0", b"")


@pytest.mark.parametrize(
    "target", ["/../secret.txt", "/bundle/..%2f..%2fsecret.txt", "/bundle/%2e%2e/%2e%2e/secret.txt"]
)
def test_no_path_leads_out(running: Server, target: str) -> None:
    response, body = ask(running, target)
    assert response.status == 404
    assert b"secret" not in body


def test_one_connection_answers_many(running: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
    for target, status in (("/", 200), ("/nothing", 404), ("/bundle/mlcweb.json", 200)):
        connection.request("GET", target)
        response = connection.getresponse()
        response.read()
        assert response.status == status
    connection.close()


def test_other_methods_are_refused(running: Server) -> None:
    assert ask(running, "/", "POST")[0].status == 501


def test_a_client_that_hangs_up_harms_nothing(running: Server) -> None:
    with socket.create_connection(("127.0.0.1", running.port)) as connection:
        connection.sendall(b"GET /bundle/weights-000.0123abcd.bin HTTP/1.1\r\nHost: x\r\n\r\n")
    assert ask(running, "/")[0].status == 200


def test_a_busy_port_suggests_another(running: Server, tmp_path: Path) -> None:
    busy = serving(None, port=running.port, engine=tmp_path)
    with pytest.raises(ServeError, match=f"port {running.port}") as caught, busy:
        pass
    assert "--port" in caught.value.hint


def test_an_unknown_host(tmp_path: Path) -> None:
    with pytest.raises(ServeError, match="cannot listen"), serving(None, host="203.0.113.1", engine=tmp_path):
        pass


def test_the_port_is_free_afterwards(tmp_path: Path) -> None:
    with serving(None, engine=tmp_path) as first:
        port = first.port
    with serving(None, port=port, engine=tmp_path) as second:
        assert second.port == port


def test_an_engine_that_is_not_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(server_module, "ENGINE", tmp_path)
    with pytest.raises(BundleError, match="not built") as caught, serving(None):
        pass
    assert "make engine" in caught.value.hint


def test_requests_are_logged_on_demand(tmp_path: Path) -> None:
    (tmp_path / "chat.html").write_text("x")
    lines: list[str] = []
    with serving(None, engine=tmp_path, log=lines.append) as server:
        ask(server, "/", Range="bytes=0-0")
        ask(server, "/gone")
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(b"GET /\x1b[2J\xff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            while connection.recv(4096):
                pass
    assert lines[:2] == ["GET / HTTP/1.1 206 (bytes=0-0)", "GET /gone HTTP/1.1 404"]
    assert lines[2:] == [r"GET /\x1b[2J\xff HTTP/1.1 404"]  # nothing that moves a terminal's cursor


def test_without_a_log_nothing_is_printed(running: Server, capfd: pytest.CaptureFixture[str]) -> None:
    ask(running, "/gone")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("host", "local", "network"),
    [
        ("127.0.0.1", "http://127.0.0.1:1/", False),
        ("localhost", "http://localhost:1/", False),
        ("::1", "http://[::1]:1/", False),
        ("0.0.0.0", "http://localhost:1/", True),
        ("::", "http://localhost:1/", True),
        ("192.168.0.7", None, True),
    ],
)
def test_addresses(monkeypatch: pytest.MonkeyPatch, host: str, local: str | None, network: bool) -> None:
    addresses = {"0.0.0.0": "192.168.0.9", "::": "fd00::9"}
    monkeypatch.setattr(server_module, "_outward_address", addresses.get)
    server = Server.__new__(Server)
    server.host, server.port = host, 1
    assert server.local == local
    shown = {
        "0.0.0.0": "http://192.168.0.9:1/",
        "::": "http://[fd00::9]:1/",
        "192.168.0.7": "http://192.168.0.7:1/",
    }
    assert server.network == (shown[host] if network else None)


def test_this_machines_own_address_or_none() -> None:
    actual = server_module._outward_address("0.0.0.0")
    assert actual is None or not server_module._is_loopback(actual)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give a BUNDLE, or --catalog URL"),
        (["--api"], "give a BUNDLE"),
        (["--catalog", "catalog.json"], "is no http or https URL"),
        (["--catalog", "https://x;connect-src/y"], "is no http or https URL"),
        (["--catalog", "https://models.example/web/", "--api"], "leave BUNDLE and --api out"),
    ],
)
def test_what_serve_does_not_take(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", *arguments]) == 2
    assert said in capsys.readouterr().err
