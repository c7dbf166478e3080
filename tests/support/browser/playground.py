"""The chat page with its playground open, and hands for its fields."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from mlcweb.browser.page import open_page
from mlcweb.serve import serving
from tests.support.browser.mini_bundle import Mini

DEFAULTS = {"temperature": 0.25, "top_k": 7}  # of the bundle


@contextmanager
def playground(chromium: Path, mini: Mini, folder: Path) -> Iterator[tuple[Page, list[str]]]:
    """The page with a model loaded and the panel open, and the errors on its console."""
    bundle = mini.write(folder)
    manifest = json.loads((bundle / "mlcweb.json").read_text())
    (bundle / "mlcweb.json").write_text(json.dumps({**manifest, "generation": DEFAULTS}))
    with serving(bundle) as server, open_page(chromium, hold_signals=False) as page:
        errors: list[str] = []  # a breach of the page's Content-Security-Policy is one
        page.raw.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        fetched: list[str] = []
        page.raw.on("request", lambda request: fetched.append(request.url))
        page.open(server.url)
        expect(page.raw.locator("#composer")).to_be_visible()
        assert not [url for url in fetched if "playground" in url], "who only chats fetches none of it"
        for part in ("playground.js", "playground.css"):
            page.raw.route(f"**/{part}", lambda route: route.abort())
            page.raw.locator("#playground").click()
            expect(page.raw.locator("#speed")).to_contain_text("The playground cannot be opened")
            page.raw.unroute_all()
            page.raw.locator("#speed").evaluate("e => { e.textContent = ''; }")
        errors.clear()
        page.raw.locator("#playground").click()
        expect(page.raw.locator("#panel")).to_be_visible()
        yield page.raw, errors


def fill(page: Page, name: str, value: str) -> Locator:
    """Sets a field, in whatever section it is."""
    field = page.locator(f"#play-{name}")
    field.evaluate("e => { e.closest('details').open = true; }")
    if field.evaluate("e => e.tagName") == "SELECT":
        field.select_option(value)
    elif field.get_attribute("type") == "checkbox":
        field.set_checked(bool(value))
    else:
        field.fill(value)
    return field


def ask(page: Page, question: str = "hello") -> None:
    page.locator("#input").fill(question)
    page.locator("#input").press("Enter")


def answered(page: Page, count: int = 1) -> None:
    expect(page.locator(".meta")).to_have_count(count)
    expect(page.locator("#send")).to_be_visible()


def fault(page: Page, name: str) -> Locator:
    return page.locator(f"#play-{name}-fault")
