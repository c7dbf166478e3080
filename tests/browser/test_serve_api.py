"""``mlcweb serve --api`` as a user runs it: a process, headless Chromium, and clients over HTTP."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser.mini_bundle import Mini, chat_tokens
from tests.support.engine import needs_engine

pytestmark = [needs_engine, pytest.mark.usefixtures("chromium")]

CHAT = "/v1/chat/completions"
USER = [{"role": "user", "content": "hello"}]
GREEDY = {"messages": USER, "temperature": 0}


class Api:
    """The running server."""

    def __init__(self, bundle: Path) -> None:
        args = ["serve", str(bundle), "--api", "--port", "0", "--format", "json", "--context-length", "120"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlcweb", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.stderr and self.process.stderr.read()
        self.ready = json.loads(line)
        self.port = int(self.ready["url"].rstrip("/").rsplit(":", 1)[1])

    def send(
        self, body: Any, path: str = CHAT
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", path, body if isinstance(body, str) else json.dumps(body))
        return connection, connection.getresponse()

    def ask(self, body: Any, path: str = CHAT) -> tuple[int, Any]:
        connection, response = self.send(body, path)
        answer = json.loads(response.read())
        connection.close()
        return response.status, answer


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    running = Api(Mini().write(tmp_path_factory.mktemp("mini")))
    yield running
    if running.process.poll() is None:
        running.process.kill()
    running.process.wait(30)


def expected() -> str:
    return bytes(Mini().answer(chat_tokens(("user", "hello")))).decode()


def events(text: str) -> list[str]:
    return [event.removeprefix("data: ") for event in text.split("\n\n") if event]


def test_a_whole_answer_and_models(api: Api) -> None:
    assert api.ready == {
        "url": f"http://127.0.0.1:{api.port}/",
        "api": f"http://127.0.0.1:{api.port}/v1",
        "models": ["mini"],
    }
    status, answer = api.ask({**GREEDY, "model": "mini"})
    assert (status, answer["choices"][0]["message"]["content"]) == (200, expected())
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=60)
    connection.request("GET", "/v1/models")
    assert [model["id"] for model in json.loads(connection.getresponse().read())["data"]] == ["mini"]


def test_a_stream(api: Api) -> None:
    _, response = api.send({**GREEDY, "stream": True, "stream_options": {"include_usage": True}})
    assert response.headers["Content-Type"].startswith("text/event-stream")
    *chunks, done = events(response.read().decode())
    assert done == "[DONE]"
    *parts, usage = [json.loads(chunk) for chunk in chunks]
    assert "".join(part["choices"][0]["delta"].get("content", "") for part in parts) == expected()
    assert usage["usage"]["completion_tokens"] == len(expected())


def test_errors(api: Api) -> None:
    cases: list[tuple[int, Any, str]] = [
        (404, {**GREEDY, "model": "gpt-4o"}, CHAT),
        (404, GREEDY, "/v1/responses"),
        (400, "{", CHAT),
        (400, {**GREEDY, "temperature": 9}, CHAT),
        (400, {"messages": [{"role": "user", "content": "x" * 200}]}, CHAT),
    ]
    for status, body, path in cases:
        got, answer = api.ask(body, path)
        assert (got, answer["error"]["type"]) == (status, "invalid_request_error"), answer
    assert answer["error"]["code"] == "context_length_exceeded"


def test_hanging_up_frees_the_engine_and_two_wait_for_each_other(api: Api) -> None:
    # this model ends by itself soon: an answer of many choices is long
    free = {"messages": USER, "response_format": {"type": "regex", "regex": "[ab]{100}"}, "n": 4}
    began = time.monotonic()
    assert api.ask(free)[0] == 200
    four = time.monotonic() - began
    connection, response = api.send({**free, "n": 128, "stream": True})
    assert response.read1().startswith(b"data: ")
    connection.close()
    began = time.monotonic()
    answers: list[tuple[int, Any]] = []
    both = [threading.Thread(target=lambda: answers.append(api.ask(GREEDY))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
    assert [(status, answer["choices"][0]["message"]["content"]) for status, answer in answers] == [
        (200, expected())
    ] * 2
    assert time.monotonic() - began < 16 * four, "128 choices take 32 times as long as four"


def test_ctrl_c_ends_it(api: Api) -> None:
    began = time.monotonic()
    api.process.send_signal(signal.SIGINT)
    out, err = api.process.communicate(timeout=30)
    assert (api.process.returncode, out) == (0, "")
    assert err.endswith("\nstopped\n") and "Traceback" not in err
    assert time.monotonic() - began < 20
