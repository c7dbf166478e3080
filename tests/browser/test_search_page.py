"""The search page: what `mlcweb serve` shows for a model of embeddings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from mlcweb.browser.page import open_page
from mlcweb.serve import serving
from tests.support.browser.mini_bundle import Mini
from tests.support.browser.mini_texts import MiniTexts
from tests.support.engine import ENGINE, needs_engine

pytestmark = needs_engine

FACTS = {"prompts": {"query": "the query: ", "document": "a document: "}, "matryoshka": [8]}


@pytest.fixture
def opened(chromium: Path, tmp_path: Path) -> Iterator[tuple[Page, str]]:
    """The page with its sentences embedded, and its URL."""
    bundle = MiniTexts(facts=FACTS).write(tmp_path / "mini")
    with serving(bundle) as server, open_page(chromium, hold_signals=False) as page:
        page.open(server.url)
        expect(page.raw.locator("#size")).to_contain_text("1,000 sentences embedded in")
        yield page.raw, server.url


def nearest(query: str, sentences: list[str]) -> list[int]:
    """By cosine, with the prompts of queries and of documents."""
    mini = MiniTexts(facts=FACTS)
    vectors = np.array([mini.embedding(f"a document: {text}") for text in sentences])
    return [int(i) for i in np.argsort(-(vectors @ mini.embedding(f"the query: {query}")))]


def test_sentences_are_found_by_their_vectors_while_typing(opened: tuple[Page, str]) -> None:
    page, _ = opened
    sentences = (ENGINE / "sentences.txt").read_text(encoding="utf-8").splitlines()
    assert len(sentences) == 1000
    expect(page.locator("#query")).to_be_focused()
    page.keyboard.type("a tap that drips")
    query = page.locator("#query").input_value()
    expected = [sentences[i] for i in nearest(query, sentences)[:12]]
    expect(page.locator("#results li span:first-child")).to_have_text(expected)
    expect(page.locator("#timing")).to_have_text(
        re.compile(r"Query embedded in [\d.]+ ms, 1000 vectors compared in [\d.]+ ms")
    )
    page.locator("#query").fill("")
    expect(page.locator("#results li")).to_have_count(0)
    suggestion = page.locator("#suggestions button").first
    words = suggestion.text_content() or ""
    suggestion.click()
    expect(page.locator("#query")).to_have_value(words)
    expect(page.locator("#results li").first).to_have_text(
        re.compile(re.escape(sentences[nearest(words, sentences)[0]]))
    )


def test_ones_own_text_is_searched(opened: tuple[Page, str]) -> None:
    page, _ = opened
    page.locator("#own").click()
    expect(page.locator("#lines")).to_be_focused()
    own = ["the browser", "a kernel", "<b>bold</b> & more"]
    page.locator("#lines").fill("\n".join(["", *own, "  "]))
    page.locator("#use").click()
    expect(page.locator("#size")).to_contain_text("3 sentences embedded in")
    page.locator("#query").fill("browser")
    expected = [own[i] for i in nearest("browser", own)]
    expect(page.locator("#results li span:first-child")).to_have_text(expected)
    page.locator("#own").click()
    page.locator("#back").click()
    expect(page.locator("#size")).to_contain_text("1,000 sentences embedded in")
    expect(page.locator("#results li")).to_have_count(12)


@pytest.mark.parametrize("width", [320, 800])
def test_nothing_is_wider_than_the_screen(opened: tuple[Page, str], width: int) -> None:
    page, _ = opened
    page.set_viewport_size({"width": width, "height": 600})
    page.locator("#query").fill("w" * 80)
    expect(page.locator("#results li")).to_have_count(12)
    assert page.evaluate("() => document.documentElement.scrollWidth") == width


def test_the_chat_page_sends_an_embedding_model_here_and_a_chat_model_stays(
    opened: tuple[Page, str], tmp_path: Path
) -> None:
    page, url = opened
    page.goto(f"{url}chat.html?context=24")
    page.wait_for_url(f"{url}search.html?context=24")
    expect(page.locator("#search")).to_be_visible()
    with serving(Mini().write(tmp_path / "chat")) as server:
        page.goto(server.url)
        expect(page.locator("#composer")).to_be_visible()
        page.goto(f"{server.url}search.html")
        expect(page.locator("#failure-code")).to_have_text("wrong-model")
    with serving(MiniTexts(reranks=True).write(tmp_path / "ranks")) as server:
        page.goto(server.url)
        expect(page.locator("#failure-hint")).to_contain_text("engine.rerank")
