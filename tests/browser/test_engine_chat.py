"""The chat page under the real server's headers, on a model made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from mlcweb.browser.page import Page, open_page
from mlcweb.serve import serving
from tests.support.browser.mini_bundle import Mini, chat_tokens
from tests.support.engine import needs_engine

pytestmark = needs_engine


@pytest.fixture
def opened(chromium: Path, tmp_path: Path) -> Iterator[tuple[Page, str]]:
    bundle = Mini().write(tmp_path / "mini")
    with serving(bundle) as server, open_page(chromium, hold_signals=False) as page:
        yield page, server.url


def test_a_conversation(opened: tuple[Page, str]) -> None:
    page, url = opened
    raw = page.raw
    errors: list[str] = []  # a breach of the page's Content-Security-Policy is one
    raw.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.open(url)
    expect(raw.locator("#composer")).to_be_visible()
    expect(raw.locator("#name")).to_have_text("mini")
    raw.locator("#settings").click()
    raw.locator("#temperature").fill("0")
    raw.locator("#top-p").fill("1")
    raw.locator("#settings").click()
    raw.locator("#input").fill("hello")
    raw.locator("#input").press("Enter")
    answer = bytes(Mini().answer(chat_tokens(("user", "hello")))).decode()
    expect(raw.locator(".message.assistant")).to_have_text(answer)
    expect(raw.locator("#speed")).to_contain_text("tokens/s")
    raw.locator("#new").click()
    expect(raw.locator(".message")).to_have_count(0)
    assert errors == []


def test_a_missing_bundle_is_explained(opened: tuple[Page, str]) -> None:
    page, url = opened
    page.open(f"{url}?bundle=./nowhere/")
    expect(page.raw.locator("#failure")).to_be_visible()
    expect(page.raw.locator("#failure-code")).to_have_text("bundle")
    expect(page.raw.locator("#failure-message")).to_contain_text("There is no bundle at")


def test_text_is_never_html(opened: tuple[Page, str]) -> None:
    page, url = opened
    page.open(url)
    expect(page.raw.locator("#composer")).to_be_visible()
    page.raw.locator("#input").fill("<img src=x onerror=alert(1)>")
    page.raw.locator("#send").click()
    expect(page.raw.locator(".message.user")).to_have_text("<img src=x onerror=alert(1)>")
    assert page.raw.locator(".message img").count() == 0
