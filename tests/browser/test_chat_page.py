"""The chat page beyond a plain conversation: first questions, errors with a way on, keyboard, narrow screens; and
the README's example, run as it is written."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from mlcweb.browser.page import open_page
from mlcweb.serve import serving
from tests.support.browser.mini_bundle import Mini
from tests.support.engine import ENGINE, needs_engine

ROOT = Path(__file__).resolve().parents[2]

pytestmark = needs_engine


@pytest.fixture
def opened(chromium: Path, tmp_path: Path) -> Iterator[tuple[Page, str]]:
    """The page with a model loaded, and its URL."""
    bundle = Mini().write(tmp_path / "mini")
    with serving(bundle) as server, open_page(chromium, hold_signals=False) as page:
        page.open(server.url)
        expect(page.raw.locator("#composer")).to_be_visible()
        yield page.raw, server.url


def test_a_suggestion_is_a_question(opened: tuple[Page, str]) -> None:
    page, _ = opened
    expect(page.locator("#input")).to_be_focused()
    first = page.locator("#suggestions button").first
    question = first.text_content() or ""
    first.click()
    expect(page.locator(".message.user")).to_have_text(question)
    expect(page.locator("#welcome")).to_be_hidden()
    expect(page.locator(".meta")).to_contain_text("token")
    page.locator("#new").click()
    expect(page.locator("#welcome")).to_be_visible()
    expect(page.locator(".meta")).to_have_count(0)


def test_a_question_too_long_comes_back(opened: tuple[Page, str]) -> None:
    page, _ = opened
    question = "too long " * 40
    page.locator("#input").fill(question)
    page.keyboard.press("Enter")
    expect(page.locator(".message.error")).to_contain_text("The conversation is too long")
    expect(page.locator(".message.user")).to_have_count(0)
    expect(page.locator("#input")).to_have_value(question.strip())
    page.locator(".message.error button").click()
    expect(page.locator(".message")).to_have_count(0)


def test_settings_with_the_keyboard(opened: tuple[Page, str]) -> None:
    page, _ = opened
    page.locator("#settings").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#system")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_be_hidden()
    expect(page.locator("#settings")).to_be_focused()


def test_the_input_grows_with_its_text_and_shrinks_again(opened: tuple[Page, str]) -> None:
    page, _ = opened
    field = page.locator("#input")
    before = (field.bounding_box() or {})["height"]
    field.fill("a line that is rather long " * 20)
    assert (field.bounding_box() or {})["height"] > 2 * before
    field.fill("")
    assert (field.bounding_box() or {})["height"] == before


@pytest.mark.parametrize("width", [320, 390, 800])
def test_nothing_is_wider_than_the_screen(opened: tuple[Page, str], width: int) -> None:
    page, url = opened
    page.set_viewport_size({"width": width, "height": 600})
    page.locator("#input").fill("w" * 60)
    page.keyboard.press("Enter")
    expect(page.locator(".meta")).to_have_count(1)
    assert page.evaluate("() => document.documentElement.scrollWidth") == width
    main = page.evaluate(
        "() => { const m = document.querySelector('main'); return m.scrollWidth - m.clientWidth; }"
    )
    assert main == 0
    page.goto(f"{url}?bundle=./nowhere/")
    expect(page.locator("#failure")).to_be_visible()
    assert page.evaluate("() => document.documentElement.scrollWidth") == width


def test_a_cancelled_load_can_be_begun_again(opened: tuple[Page, str]) -> None:
    page, url = opened
    page.route("**/weights-*", lambda route: None)  # never answered
    page.evaluate("() => caches.delete('mlcweb-v1')")
    page.goto(f"{url}?context=32")
    page.locator("#cancel").click()
    expect(page.locator("#failure-code")).to_have_text("cancelled")
    page.unroute_all(behavior="ignoreErrors")
    page.locator("#retry").click()
    expect(page.locator("#machine")).to_contain_text("/32")


def test_the_readmes_example_runs(chromium: Path, tmp_path: Path) -> None:
    """As written, but for the model's URL and the engine's, as no bundler finds the package."""
    text = (ROOT / "README.md").read_text()
    examples = re.findall(r"```js\n(.*?)```", text, flags=re.S)
    assert examples
    pages = tmp_path / "pages"
    pages.mkdir()
    shutil.copy(ENGINE / "mlcweb.js", pages)
    bundle = Mini().write(tmp_path / "mini")
    for number, example in enumerate(examples):
        script = re.sub(r"https://models\.example/[^\"]*", "./bundle/", example).replace(
            'from "mlcweb"', 'from "./mlcweb.js"'
        )
        (pages / f"example{number}.js").write_text(f'{script}\nconsole.log("the end");\n')
        (pages / f"{number}.html").write_text(f'<script type="module" src="./example{number}.js"></script>')
    with serving(bundle, engine=pages) as server, open_page(chromium, hold_signals=False) as page:
        for number in range(len(examples)):
            said: list[str] = []
            page.raw.on("console", lambda message, said=said: said.append(message.text))
            with page.raw.expect_console_message(lambda message: message.text == "the end", timeout=30_000):
                page.raw.goto(f"{server.url}{number}.html")
            assert said[-1] == "the end"
            assert any(text.endswith("Ready") for text in said), said
