"""The load option ``debug``: what the engine says in the console, and through ``MLCWEB_DEBUG`` on stderr."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from mlcweb.browser.page import open_page
from mlcweb.browser.session import open_session
from mlcweb.debug import VARIABLE, log_to_stderr
from tests.support.browser.engine_server import EngineServer
from tests.support.browser.mini_bundle import Mini
from tests.support.engine import ENGINE, needs_engine

pytestmark = needs_engine
STAGES = [
    "read manifest",
    "choose tier",
    "fetch plan",
    "open device",
    "allocate",
    "make bind groups",
    "load mini",
]


def call(page: Page, method: str, *args: Any) -> Any:
    """The function's result, or a failure after five minutes."""
    script = """([method, args]) => Promise.race([window.mlcweb[method](...args),
      new Promise((_, reject) => setTimeout(() => reject(new Error(`${method} hangs`)), 300000))])"""
    return page.evaluate(script, [method, list(args)])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Mini().write(tmp_path_factory.mktemp("mini"))


@pytest.fixture(scope="module")
def page(chromium: Path, bundle: Path) -> Iterator[Page]:
    with EngineServer(ENGINE, bundle) as server, open_page(chromium, hold_signals=False) as page:
        page.open(f"{server.url}harness.html", ready="() => Boolean(window.mlcweb)")
        yield page.raw


@pytest.fixture
def said(page: Page) -> Iterator[list[str]]:
    """What the engine says."""
    lines: list[str] = []

    def hear(message: object) -> None:
        text, kind = getattr(message, "text", ""), getattr(message, "type", "")
        if kind == "debug" and text.startswith("mlcweb "):
            lines.extend(text.removeprefix("mlcweb ").splitlines())

    page.on("console", hear)
    yield lines
    page.remove_listener("console", hear)


def load(page: Page, said: list[str], debug: int) -> list[str]:
    said.clear()
    result = call(page, "load", "./bundle/", {"debug": debug})
    assert "error" not in result, result
    assert "error" not in call(page, "greedy", [1, 2, 3], 4)
    return list(said)


def stages(lines: list[str]) -> list[str]:
    return [match[1] for line in lines if (match := re.fullmatch(r"([\w ]+): \d+\.\d ms", line))]


def test_each_level_adds_to_the_one_before(page: Page, said: list[str]) -> None:
    assert load(page, said, 0) == []

    first = load(page, said, 1)
    assert len(stages(first)) == len(first), "stages alone"
    in_order = [name for name in stages(first) if name in STAGES]
    assert in_order == STAGES
    assert {"upload weights", "compile pipelines", "read tokenizer"} < set(stages(first))

    second = load(page, said, 2)
    assert any(line.startswith("adapter: ") for line in second)
    assert any(re.match(r"limits: maxBufferSize \d+", line) for line in second)
    tiers = [line for line in second if line.startswith("tier ")]
    assert tiers[0].startswith("tier f16: refused, lacks shader-f16")
    assert tiers[1:] == ["tier base: chosen, the first that this adapter can run"]
    assert any(line.startswith("prefill float: ") for line in second)
    assert not any(line.startswith("pipeline ") for line in second)

    third = load(page, said, 3)
    pipelines = [name for name in stages(third) if name.startswith("pipeline ")]
    assert len(pipelines) == len(set(pipelines)) > 2
    assert not any(" launches: " in line for line in third)

    fourth = [line for line in load(page, said, 4) if " launches: " in line]
    assert fourth[0].startswith("prefill(3): ") and fourth[1].startswith("sample(): ")
    assert fourth[2].startswith("decode(): ") and len(fourth) >= 2 * 4
    count, names = re.fullmatch(r"decode\(\): (\d+) launches: (.*)", fourth[2]).groups()  # type: ignore[union-attr]
    assert sum(int(part.rsplit(" ", 1)[1]) for part in names.split(", ")) == int(count)


def test_a_level_that_is_none_is_refused(page: Page) -> None:
    for level in (5, -1, 1.5):
        error = call(page, "load", "./bundle/", {"debug": level})["error"]
        assert error["code"] == "invalid-request" and error["message"].startswith("debug:")


def test_the_command_line_passes_it_on(
    chromium: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, "2")
    log_to_stderr()
    try:
        with open_session(bundle, chromium) as session:
            session.load()
    finally:
        monkeypatch.delenv(VARIABLE)
        log_to_stderr()
    out, err = capsys.readouterr()
    assert out == "" and re.search(r"^ *\d+\.\d{3} mlcweb\.engine: choose tier: \d+\.\d ms$", err, re.M)
    assert "\ntier base: chosen" in err
