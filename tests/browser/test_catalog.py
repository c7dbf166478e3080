"""A published catalog of another origin: the chat page's list, and loads by a model's name."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from mlcweb.browser.page import open_page
from mlcweb.cli.command import run
from mlcweb.serve import serving
from tests.support.browser.mini_bundle import Mini
from tests.support.engine import ENGINE, needs_engine

pytestmark = needs_engine


class _Cdn(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None: ...

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The page's origin, and the catalog's."""
    folder = tmp_path_factory.mktemp("catalog")
    assert run(["publish", str(Mini().write(folder / "mini")), str(folder / "cdn")]) == 0
    catalog = folder / "cdn" / "catalog.json"
    document = json.loads(catalog.read_text())
    (mini,) = document["models"]
    needs = [{**tier, "features": ["shader-f16", "subgroups"]} for tier in mini["tiers"][:1]]
    document["models"].append({**mini, "id": "large", "model": "large", "tiers": needs, "url": "large/"})
    catalog.write_text(json.dumps(document))
    servers = [
        ThreadingHTTPServer(("127.0.0.1", 0), partial(_Cdn, directory=str(root)))
        for root in (ENGINE, folder / "cdn")
    ]
    for server in servers:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
    page, cdn = (f"http://localhost:{server.server_port}/" for server in servers)
    yield page, cdn
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def page(chromium: Path) -> Iterator[Page]:
    with open_page(chromium, hold_signals=False) as opened:
        yield opened.raw


def test_the_page_lists_models_and_loads_the_one_that_is_chosen(page: Page, urls: tuple[str, str]) -> None:
    here, cdn = urls
    page.goto(f"{here}chat.html?catalog={cdn}")
    expect(page.locator("#models-status")).to_have_text("1 of 2 run on this device.")
    expect(page.locator(".model")).to_have_count(2)
    expect(page.locator(".unfit")).to_contain_text("This GPU lacks")
    expect(page.locator(".unfit a")).to_have_count(0)
    page.locator(".model a").click()
    expect(page.locator("#composer")).to_be_visible(timeout=30_000)
    expect(page.locator("#name")).to_have_text("mini")


def test_a_catalog_that_is_not_there_says_so(page: Page, urls: tuple[str, str]) -> None:
    here, cdn = urls
    page.goto(f"{here}chat.html?catalog={cdn}nothing/")
    expect(page.locator("#failure-message")).to_contain_text("catalog.json is missing")


def test_the_served_page_asks_its_catalogs_origin_and_no_other(page: Page, urls: tuple[str, str]) -> None:
    _, cdn = urls
    with serving(None, connect=cdn.rstrip("/")) as server:
        page.goto(f"{server.url}?catalog={cdn}")
        expect(page.locator(".model")).to_have_count(2)
    with serving(None) as server:
        page.goto(f"{server.url}?catalog={cdn}")
        expect(page.locator("#failure-hint")).to_contain_text(f"does not let it ask {cdn.rstrip('/')}")


def test_engines_load_by_a_models_name(page: Page, urls: tuple[str, str]) -> None:
    here, cdn = urls
    page.goto(f"{here}harness.html")
    script = """async ([here, catalog]) => {
      const { Engine } = await import(`${here}mlcweb.js`);
      const { CreateMLCEngine } = await import(`${here}web-llm.js`);
      const engine = await Engine.load({ catalog, model: "mini" }, { contextLength: 64 });
      const loaded = [engine.info.name, engine.info.url];
      await engine.unload();
      const mlc = await CreateMLCEngine("mini-MLC", { catalog });
      const messages = [{ role: "user", content: "hello" }];
      const answer = await mlc.chat.completions.create({ messages, max_tokens: 3, ignore_eos: true });
      await mlc.unload();
      const refused = await Engine.load({ catalog, model: "large" }).catch(({ code, message }) => [code, message]);
      return { loaded, tokens: answer.usage.completion_tokens, refused };
    }"""
    found = page.evaluate(script, [here, cdn])
    assert found["loaded"] == ["mini", f"{cdn}mini/"] and found["tokens"] == 3
    assert found["refused"][0] == "missing-feature" and "large does not run here" in found["refused"][1]
