"""Where the engine looks for a bundle: from a worker made from a Blob, with a query, and behind a captive portal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from mlcweb.browser.page import open_page
from tests.support.browser.engine_server import EngineServer
from tests.support.browser.mini_bundle import Mini
from tests.support.engine import ENGINE, needs_engine

QUERY = "?token=a%2Fb&x=/y.z"
WORKER = """([engine, url]) => new Promise((resolve, reject) => {
  const script = `import { Engine } from "${engine}";
    try {
      const engine = await Engine.load(${JSON.stringify(url)}, { cache: false });
      postMessage({ url: engine.info.url, tokens: await engine.greedy([5, 6, 7], 4) });
    } catch (error) { postMessage({ error: error.toJSON?.() ?? String(error) }); }`;
  const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })), { type: "module" });
  worker.onmessage = ({ data }) => { worker.terminate(); resolve(data); };
  worker.onerror = (event) => reject(new Error(event.message));
})"""

pytestmark = needs_engine


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineServer]:
    with EngineServer(ENGINE, Mini().write(tmp_path_factory.mktemp("mini"))) as running:
        yield running


@pytest.fixture(scope="module")
def page(chromium: Path, server: EngineServer) -> Iterator[Page]:
    with open_page(chromium, hold_signals=False) as opened:
        opened.open(f"{server.url}harness.html", ready="() => Boolean(window.mlcweb)")
        yield opened.raw


@pytest.fixture(autouse=True)
def fresh(page: Page, server: EngineServer) -> None:
    page.goto(f"{server.url}harness.html")
    page.evaluate("() => window.mlcweb.deleteFromCache('./bundle/')")
    server.portal = False
    server.asked.clear()


def load(page: Page, url: str) -> Any:
    return page.evaluate("url => window.mlcweb.load(url)", url)


def test_a_blob_worker_needs_an_absolute_url(page: Page, server: EngineServer) -> None:
    page.goto(f"{server.url}chat.css")  # whose policy, unlike the harness's, lets it make such workers
    engine = f"{server.url}mlcweb.js"
    error = page.evaluate(WORKER, [engine, "./bundle/"])["error"]
    assert error["code"] == "bundle" and "blob:" in error["message"] and "absolute" in error["hint"]
    assert server.asked == []
    actual = page.evaluate(WORKER, [engine, f"{server.url}bundle/{QUERY}"])
    assert actual == {"url": f"{server.url}bundle/", "tokens": Mini().greedy([5, 6, 7], 4)}


def test_a_query_goes_with_every_file_and_names_nothing(page: Page, server: EngineServer) -> None:
    assert load(page, f"./bundle/{QUERY}")["info"]["url"] == f"{server.url}bundle/"
    assert len(server.asked) > 5 and all(path.endswith(QUERY) for path in server.asked)
    server.asked.clear()
    assert "error" not in load(page, "./bundle/?token=new")
    assert server.asked == ["/bundle/mlcweb.json?token=new"]
    assert page.evaluate("() => window.mlcweb.deleteFromCache('./bundle/?token=newer')")["deleted"] > 5


def test_the_chat_page_hands_the_query_on(page: Page, server: EngineServer) -> None:
    page.goto(f"{server.url}chat.html?context=32&bundle={quote('./bundle/' + QUERY, safe='')}")
    expect(page.locator("#composer")).to_be_visible()
    assert all(path.endswith(QUERY) for path in server.asked)
    assert "token" not in (page.locator("#target").text_content() or "")
    server.asked.clear()
    page.goto(f"{server.url}chat.html?bundle=./bundle/{QUERY}")  # not encoded: x would be lost
    expect(page.locator("#failure-code")).to_have_text("invalid-request")
    expect(page.locator("#failure-message")).to_contain_text("goes on with x")
    assert server.asked == []
    page.goto(f"{server.url}chat.html?bundle=http://")
    expect(page.locator("#failure-message")).to_contain_text("is not a URL")


def test_behind_a_captive_portal(page: Page, server: EngineServer) -> None:
    server.portal = True
    error = load(page, "./bundle/")["error"]
    assert error["code"] == "web-page" and "mlcweb.json" in error["message"]
    assert len(server.asked) == 1
    server.portal = False
    assert load(page, "./bundle/")["warnings"] == []
    server.portal = True
    assert [warning["code"] for warning in load(page, "./bundle/")["warnings"]] == ["offline"]
