"""The chat page with a model that takes pictures: they are chosen, dropped, pasted, removed and sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from mlcweb.browser.page import open_page
from mlcweb.serve import serving
from tests.support.browser.mini_bundle import Mini
from tests.support.engine import ENGINE, needs_engine

pytestmark = needs_engine

#: The engine, whose model seems to take pictures: it answers the words, and what it was asked is kept.
TAKING = """import { Engine as Real, InvalidRequestError } from "./real.js";
export * from "./real.js";
window.asked = [];
export const Engine = {
  async load(...given) {
    const engine = await Real.load(...given);
    const facts = () => Object.getOwnPropertyDescriptor(Real.prototype, "info").get.call(engine);
    Object.defineProperty(engine, "info", { get: () => ({ ...facts(), images: true }) });
    const { completions } = engine.chat;
    const words = ({ messages, ...rest }) => ({ ...rest, messages: messages.map(({ content, ...message }) => ({
      ...message,
      content: typeof content === "string" ? content : content.filter(({ type }) => type === "text"),
    })) });
    const { create, prompt } = completions;
    completions.create = (request) => {
      window.asked.push(request.messages.at(-1).content);
      if (window.refuse) throw new InvalidRequestError("messages[0].content[0]", "cannot be decoded.");
      return create.call(completions, words(request));
    };
    completions.prompt = (request) => prompt.call(completions, words(request));
    return engine;
  },
};"""
#: The next message's content, with files by their names.
SAID = """() => window.asked.map((content) => typeof content === "string" ? content : content.map(
  (part) => part.type === "image" ? (part.image instanceof File && part.image.name) : part.text))"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(Mini().write(tmp_path_factory.mktemp("mini") / "mini")) as running:
        yield running.url


@pytest.fixture(scope="module")
def browser_page(chromium: Path) -> Iterator[Page]:
    with open_page(chromium, hold_signals=False) as page:
        page.raw.route(
            "**/real.js",
            lambda route: route.fulfill(path=ENGINE / "mlcweb.js", content_type="text/javascript"),
        )
        page.raw.route(
            "**/mlcweb.js", lambda route: route.fulfill(body=TAKING, content_type="text/javascript")
        )
        yield page.raw


@pytest.fixture
def page(browser_page: Page, server: str) -> Page:
    browser_page.goto(server)
    expect(browser_page.locator("#composer")).to_be_visible()
    return browser_page


@pytest.fixture
def png(page: Page) -> bytes:
    return bytes(
        page.evaluate(
            """async () => {
              const canvas = Object.assign(document.createElement("canvas"), { width: 40, height: 20 });
              const blob = await new Promise((done) => canvas.toBlob(done));
              return [...new Uint8Array(await blob.arrayBuffer())];
            }"""
        )
    )


def file(name: str, data: bytes, kind: str = "image/png") -> Any:
    return {"name": name, "mimeType": kind, "buffer": data}


def choose(page: Page, *files: Any) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Add a picture").click()
    chooser.value.set_files(list(files))


HANDED = """([event, names, bytes, words]) => {
  const data = new DataTransfer();
  for (const name of names) data.items.add(new File([Uint8Array.from(bytes)], name, { type: "image/png" }));
  if (words) data.setData("text/plain", words);
  const options = { bubbles: true, cancelable: true };
  document.querySelector("#input").dispatchEvent(event === "paste"
    ? new ClipboardEvent(event, { ...options, clipboardData: data })
    : new DragEvent(event, { ...options, dataTransfer: data }));
}"""


def test_chosen_pictures_are_sent_with_the_words(page: Page, png: bytes) -> None:
    choose(page, file("a.png", png), file("b.png", png))
    tray = page.get_by_role("list", name="Pictures of the next message")
    expect(tray.get_by_role("img")).to_have_count(2)
    expect(tray.get_by_role("img", name="a.png")).to_be_visible()
    expect(page.locator("#input")).to_be_focused()
    page.locator("#input").fill("what?")
    page.keyboard.press("Enter")
    expect(page.locator(".meta")).to_have_count(1)
    assert page.evaluate(SAID) == [["a.png", "b.png", "what?"]]
    expect(page.locator(".message.user").get_by_role("img")).to_have_count(2)
    expect(page.locator(".message.user")).to_have_text("what?")
    expect(tray).to_be_hidden()
    page.locator("#input").fill("and?")
    page.keyboard.press("Enter")
    expect(page.locator(".meta")).to_have_count(2)
    assert page.evaluate(SAID)[1] == "and?"


def test_a_picture_alone_is_a_message(page: Page, png: bytes) -> None:
    choose(page, file("a.png", png))
    expect(page.locator("#pictures li")).to_have_count(1)
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".meta")).to_have_count(1)
    assert page.evaluate(SAID) == [["a.png"]]


def test_pictures_are_removed_with_the_keyboard(page: Page, png: bytes) -> None:
    choose(page, file("a.png", png), file("b.png", png))
    expect(page.locator("#pictures li")).to_have_count(2)
    page.get_by_role("button", name="Remove a.png").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Remove b.png")).to_be_focused()
    expect(page.locator("#speed")).to_have_text("a.png was removed")
    page.keyboard.press("Enter")
    expect(page.locator("#input")).to_be_focused()
    expect(page.locator("#pictures")).to_be_hidden()


def test_pictures_are_dropped_and_pasted(page: Page, png: bytes) -> None:
    items = page.locator("#pictures li")
    page.evaluate(HANDED, ["dragover", ["a.png"], list(png), ""])
    expect(page.locator("body")).to_have_class("dropping")
    page.evaluate(HANDED, ["drop", ["a.png"], list(png), ""])
    expect(items).to_have_count(1)
    expect(page.locator("body")).not_to_have_class("dropping")
    page.evaluate(HANDED, ["paste", ["b.png"], list(png), ""])
    expect(items).to_have_count(2)
    # A copied text with a picture of itself is a text.
    page.evaluate(HANDED, ["paste", ["c.png"], list(png), "words"])
    page.evaluate(HANDED, ["paste", ["d.png"], list(png), ""])
    expect(items.get_by_role("img", name="d.png")).to_be_visible()
    expect(items).to_have_count(3)


def test_a_file_that_is_no_picture_is_refused(page: Page, png: bytes) -> None:
    choose(page, file("a.txt", b"words", "text/plain"), file("b.png", png))
    error = page.locator(".message.error")
    expect(error).to_contain_text("a.txt: is no picture that this browser shows.")
    expect(page.locator("#pictures li")).to_have_count(1)


def test_a_refused_message_comes_back_with_its_pictures(page: Page, png: bytes) -> None:
    page.evaluate("() => { window.refuse = true; }")
    choose(page, file("a.png", png))
    expect(page.locator("#pictures li")).to_have_count(1)
    page.locator("#input").fill("what?")
    page.keyboard.press("Enter")
    expect(page.locator(".message.error")).to_contain_text("cannot be decoded.")
    expect(page.locator(".message.user")).to_have_count(0)
    expect(page.locator("#input")).to_have_value("what?")
    expect(page.locator("#pictures").get_by_role("img", name="a.png")).to_be_visible()
    page.locator("#new").click()
    expect(page.locator("#pictures")).to_be_hidden()


@pytest.mark.parametrize("width", [320, 800])
def test_pictures_fit_the_screen(page: Page, png: bytes, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 600})
    choose(page, *(file(f"{i}.png", png) for i in range(9)))
    expect(page.locator("#pictures li")).to_have_count(9)
    assert page.evaluate("() => document.documentElement.scrollWidth") == width
    page.keyboard.press("Enter")
    expect(page.locator(".meta")).to_have_count(1)
    assert page.evaluate("() => document.documentElement.scrollWidth") == width


def test_the_playground_sends_pictures_and_writes_their_code(page: Page, png: bytes) -> None:
    """It comes while its user writes, and leaves the focus there."""
    page.set_viewport_size({"width": 1280, "height": 800})
    late: list[Route] = []
    page.route("**/playground.js", lambda route: late.append(route))
    page.locator("#playground").click()
    choose(page, file("a.png", png))
    page.locator("#input").fill("what?")
    late[0].continue_()
    expect(page.locator("pre.code code")).to_contain_text('await fetch("./a.png")')
    page.keyboard.press("Enter")
    expect(page.locator(".meta")).to_have_count(1)
    assert page.evaluate(SAID) == [["a.png", "what?"]]
    page.evaluate("() => sessionStorage.clear()")


def test_other_models_have_no_such_button(chromium: Path, server: str) -> None:
    with open_page(chromium, hold_signals=False) as page:
        page.open(server)
        expect(page.raw.locator("#composer")).to_be_visible()
        expect(page.raw.locator("#add-picture")).to_be_hidden()
        png = list(b"no picture")
        page.raw.evaluate(HANDED, ["paste", ["a.png"], png, ""])
        expect(page.raw.locator("#pictures")).to_be_hidden()
