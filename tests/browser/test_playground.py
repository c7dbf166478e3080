"""The chat page's playground, in one page: what its fields ask for, what is refused beside them, and what it shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
from playwright.sync_api import Page, expect

from tests.support.browser.mini_bundle import Mini, chat_tokens
from tests.support.browser.playground import answered, ask, fault, fill, playground
from tests.support.engine import needs_engine

pytestmark = needs_engine

MINI = Mini(pages=128)  # room for what the engine tells a model of tools
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 4}, "n": {"type": "integer", "maximum": 9}},
    "required": ["name", "n"],
}


@pytest.fixture(scope="module")
def loaded(chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, list[str]]]:
    with playground(chromium, MINI, tmp_path_factory.mktemp("playground")) as opened:
        yield opened


@pytest.fixture
def page(loaded: tuple[Page, list[str]]) -> Iterator[Page]:
    """The same page: nothing set, nothing said."""
    page, errors = loaded
    page.locator("#new").click()
    page.get_by_role("button", name="Reset").click()
    page.locator("#input").fill("")
    yield page
    assert errors == []


def test_an_empty_field_shows_the_bundles_default(page: Page) -> None:
    expect(page.locator("#play-temperature")).to_have_attribute("placeholder", "0.25")
    expect(page.locator("#play-top_k")).to_have_attribute("placeholder", "7")
    expect(page.locator("#play-top_p")).to_have_attribute("placeholder", "1")


def test_an_answer_is_of_the_schema(page: Page) -> None:
    fill(page, "format", "json_schema")
    fill(page, "schema", json.dumps(SCHEMA))
    fill(page, "seed", "3")
    ask(page)
    answered(page)
    text = page.locator(".message.assistant pre").inner_text()
    jsonschema.validate(json.loads(text), SCHEMA)
    expect(page.locator(".note")).to_have_count(0)
    fill(page, "max_tokens", "3")
    ask(page)
    answered(page, 2)
    expect(page.locator(".note")).to_have_text("The answer was cut, so it is not whole.")
    fill(page, "max_tokens", "")
    fill(page, "format", "regex")
    fill(page, "regex", "(yes|no), [0-9]{3}")
    ask(page)
    answered(page, 3)
    assert re.fullmatch("(yes|no), [0-9]{3}", page.locator(".message.assistant").last.inner_text())


def test_a_stopped_answer_says_that_it_is_not_whole(page: Page) -> None:
    fill(page, "format", "regex")
    fill(page, "regex", "[a-z]{900}")
    ask(page)
    expect(page.locator(".message.assistant pre")).not_to_be_empty()
    page.get_by_text("Edit as raw text").evaluate("e => e.click()")
    page.get_by_text("Send raw text").evaluate("e => e.click()")
    expect(fault(page, "prompt")).to_contain_text("send it again afterwards")
    page.locator("#input").press("Escape")
    answered(page)
    expect(page.locator(".meta")).to_contain_text("stopped")
    expect(page.locator(".note")).to_have_text("The answer was cut, so it is not whole.")


def test_a_schema_is_refused_beside_its_field(page: Page) -> None:
    fill(page, "format", "json_schema")
    field = fill(page, "schema", '{"type": ')
    expect(fault(page, "schema")).to_contain_text("response_format.json_schema.schema: is not JSON")
    field.fill('{"type": "array", "uniqueItems": true}')
    expect(fault(page, "schema")).to_be_hidden()
    page.locator("#play-format").evaluate("e => { e.closest('details').open = false; }")
    ask(page, "a list, please")
    expect(fault(page, "schema")).to_contain_text("response_format.json_schema.schema.uniqueItems: ")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#input")).to_have_value("a list, please")
    expect(page.locator(".message")).to_have_count(0)
    page.wait_for_timeout(600)  # another look at the request finds nothing, and leaves this there
    expect(fault(page, "schema")).to_be_visible()


def test_sampling_is_refused_beside_its_field(page: Page) -> None:
    field = fill(page, "temperature", "3")
    expect(fault(page, "temperature")).to_have_text("temperature: must be a number from 0 to 2.")
    ask(page)
    expect(field).to_be_focused()
    expect(field).to_have_value("3")
    expect(page.locator("#input")).to_have_value("hello")
    field.fill("hot")
    fill(page, "rounds", "99")
    expect(fault(page, "rounds")).to_have_text("rounds: must be an integer from 1 to 16.")
    fill(page, "rounds", "")
    expect(fault(page, "temperature")).to_have_text("temperature: must be a number from 0 to 2.")
    field.fill("0")
    expect(fault(page, "temperature")).to_be_hidden()
    page.locator("#input").press("Enter")
    expect(page.locator(".message.assistant")).to_have_text(
        bytes(MINI.answer(chat_tokens(("user", "hello")))).decode()
    )


def test_a_call_gets_its_stubs_result(page: Page) -> None:
    page.get_by_role("button", name="Add a tool").evaluate("e => { e.closest('details').open = true; }")
    page.get_by_role("button", name="Add a tool").click()
    expect(page.locator("#play-tools-0-name")).to_be_focused()
    fill(page, "tools-0-parameters", "[1]")
    expect(fault(page, "tools-0-name")).to_contain_text("tools[0].function.name: must be a string")
    fill(page, "tools-0-name", "look_up")
    expect(fault(page, "tools-0-parameters")).to_contain_text("parameters: must be a JSON Schema")
    digit = {"type": "integer", "minimum": 0, "maximum": 9}
    parameters = {"type": "object", "properties": {"n": digit}, "required": ["n"]}
    fill(page, "tools-0-parameters", json.dumps(parameters))
    fill(page, "tools-0-result", "<b>21</b>")
    fill(page, "tool_choice", "function:look_up")
    fill(page, "temperature", "0")
    ask(page)
    answered(page, 2)
    call = page.locator(".message.call")
    expect(call).to_have_count(1)
    expect(call.locator(".call-label code")).to_have_text("look_up")
    jsonschema.validate(json.loads(call.locator("pre").first.inner_text()), parameters)
    expect(call.locator("pre").last).to_have_text("<b>21</b>")
    assert page.locator(".message.assistant").inner_text() != ""  # it has gone on after the result
    page.locator("#input").fill("next")
    expect(page.locator("#play-prompt")).to_have_value(re.compile("<b>21</b>.*next<", re.S))
    fill(page, "rounds", "1")
    ask(page)
    answered(page, 3)
    expect(page.locator(".note")).to_contain_text("Stopped after one round")
    expect(page.locator("#play-prompt-facts")).to_contain_text("tokens")
    page.get_by_role("button", name="Remove").click()
    expect(page.locator(".tool")).to_have_count(0)


def test_the_prompt_is_the_engines(page: Page) -> None:
    fill(page, "system", "Be brief.")
    fill(page, "temperature", "0")
    page.locator("#input").fill("hello")
    shown = page.locator("#play-prompt")
    shown.evaluate("e => { e.closest('details').open = true; }")
    text = "<|system|>Be brief.<|end|><|user|>hello<|end|><|assistant|>"
    expect(shown).to_have_value(text)
    expected = chat_tokens(("system", "Be brief."), ("user", "hello"))
    expect(page.locator("#play-prompt-facts")).to_have_text(f"{len(expected)} tokens.")
    page.locator("#input").press("Enter")
    answered(page)
    answer = bytes(MINI.answer(expected)).decode()
    expect(page.locator(".message.assistant")).to_have_text(answer)
    expect(page.locator(".meta")).to_contain_text(f"prompt {len(expected)} tokens")
    page.get_by_role("button", name="Edit as raw text").click()
    expect(shown).to_be_focused()
    shown.fill("once <upon>")
    expect(page.locator("#play-prompt-facts")).to_contain_text("11 tokens. Sent as it is")
    expect(page.locator("#panel pre.code")).to_contain_text('completions.create({ prompt: "once <upon>"')
    page.get_by_role("button", name="Send raw text").click()
    answered(page, 2)
    expect(page.locator(".message.raw")).to_have_text("once <upon>")
    continued = bytes(MINI.answer(list(b"once <upon>"))).decode()
    expect(page.locator(".message.assistant").last).to_have_text(continued)
    shown.fill("")
    page.get_by_role("button", name="Send raw text").click()
    expect(fault(page, "prompt")).to_contain_text("prompt: must be a string that is not empty.")
    page.get_by_role("button", name="Back to the chat's prompt").click()
    expect(shown).to_have_value(text)  # raw text is no part of the conversation


def test_each_token_shows_its_probability(page: Page) -> None:
    fill(page, "logprobs", "on")
    fill(page, "top_logprobs", "3")
    fill(page, "temperature", "0")
    ask(page)
    answered(page)
    expected = MINI.answer(chat_tokens(("user", "hello")))
    tokens = page.locator(".token")
    expect(page.locator(".meta")).to_contain_text(f"{len(expected)} tokens")
    shown = tokens.all_inner_texts()
    assert shown[: len(expected)] == [chr(token) for token in expected]
    assert len(shown) <= len(expected) + 1  # the token that ends it may be there
    tokens.first.hover()
    popover = page.get_by_role("tooltip")
    expect(popover.locator("tr")).to_have_count(3)
    expect(popover.locator("tr.chosen")).to_contain_text(chr(expected[0]))
    page.mouse.move(1, 1)
    expect(popover).to_have_count(0)
    tokens.first.focus()
    page.keyboard.press("ArrowRight")
    expect(tokens.nth(1)).to_be_focused()
    expect(popover.locator("tr.chosen")).to_contain_text(chr(expected[1]))
    page.keyboard.press("Escape")
    expect(popover).to_have_count(0)


def test_the_code_has_what_is_set_and_runs(page: Page) -> None:
    fill(page, "temperature", "0")
    fill(page, "max_tokens", "12")
    fill(page, "format", "regex")
    fill(page, "regex", "[a-z]{3} </script> [0-9]+")
    page.locator("#input").fill("hello")
    code = page.locator("#panel pre.code")
    code.evaluate("e => { e.closest('details').open = true; }")
    expect(code).to_contain_text('content: "hello"')
    expect(code).to_contain_text("script>")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy as code").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    text = page.evaluate("() => navigator.clipboard.readText()")
    request = re.search(r"create\((\{.*?\n\})\);", text, flags=re.S)
    assert request, text
    assert re.findall(r"^  (\w+):", request[1], flags=re.M) == [
        "messages",
        "temperature",
        "max_tokens",
        "response_format",
    ]
    assert "</script" not in text
    page.locator("#input").press("Enter")
    answered(page)
    said = page.locator(".message.assistant").inner_text()
    other = page.context.new_page()
    program = text.replace('"mlcweb"', '"./mlcweb.js"')
    html = '<!doctype html><script type="module" src="./program.js"></script>'
    other.route("**/program.html", lambda route: route.fulfill(body=html, content_type="text/html"))
    other.route("**/program.js", lambda route: route.fulfill(body=program, content_type="text/javascript"))
    with other.expect_console_message(lambda said: said.type == "log", timeout=30_000) as printed:
        other.goto(f"{page.evaluate('() => location.origin')}/program.html")
    assert printed.value.text == said
    other.close()


def test_settings_outlive_a_reload_and_reset_forgets_them(page: Page) -> None:
    fill(page, "seed", "x7")
    fill(page, "system", "Be <brief>.")
    page.get_by_role("button", name="Add an example").evaluate("e => e.click()")
    page.reload()
    expect(page.locator("#composer")).to_be_visible()
    expect(page.locator("#play-seed")).to_have_value("x7")
    expect(page.locator("#play-tools-0-name")).to_have_value("get_weather")
    expect(fault(page, "seed")).to_contain_text("seed: must be")
    page.locator("#settings").click()
    expect(page.locator("#simple")).to_be_hidden()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Reset").click()
    expect(fault(page, "seed")).to_be_hidden()
    values = page.locator("#panel input, #panel textarea:not([readonly])").evaluate_all(
        "all => all.map(e => e.type === 'checkbox' ? e.checked : e.value)"
    )
    assert not any(values), values
    assert page.evaluate("() => sessionStorage.length") == 0
    assert page.evaluate("() => document.cookie") == ""


def test_a_phone_has_it_as_a_drawer(page: Page) -> None:
    size = page.viewport_size
    page.set_viewport_size({"width": 360, "height": 640})
    try:
        panel = page.locator("#panel")
        for details in page.locator("#panel details").all():
            details.evaluate("e => { e.open = true; }")
        assert panel.evaluate("e => [e.scrollWidth - e.clientWidth, e.clientWidth]") == [0, 360]
        assert page.evaluate("() => document.documentElement.scrollWidth") == 360
        panel.focus()
        page.keyboard.press("Escape")
        expect(panel).to_be_hidden()
        expect(page.locator("#playground")).to_be_focused()
        page.locator("#playground").press("Enter")
        expect(panel).to_be_visible()
    finally:
        page.set_viewport_size(size or {"width": 1280, "height": 720})
