"""Embeddings and rankings by the engine in a real browser, on models made by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from mlcweb.browser.page import open_page
from tests.support.browser.engine_server import EngineServer
from tests.support.browser.mini_bundle import Mini
from tests.support.browser.mini_texts import CHUNK_TOKENS, DIMENSIONS, LIMIT, MiniTexts, from_base64
from tests.support.engine import ENGINE, needs_engine

pytestmark = needs_engine

TEXTS = [
    "The browser compiles kernels.",
    "",
    "Straße größer und schöner, 漢字 😀",
    "unbelievably well-known",
    "x" * 120,
    "السلام عليكم",
]
TEMPLATE = "[CLS] {instruction}: {query} [SEP] {document} [SEP]"


@pytest.fixture(scope="module")
def page(chromium: Path) -> Iterator[Page]:
    with open_page(chromium, hold_signals=False) as opened:
        yield opened.raw


@pytest.fixture
def loaded(page: Page, tmp_path: Path) -> Iterator[Any]:
    """Loads a bundle, and gives its harness's functions."""
    servers: list[EngineServer] = []

    def load(bundle: Any) -> Any:
        server = EngineServer(ENGINE, bundle.write(tmp_path / f"bundle{len(servers)}"))
        servers.append(server.__enter__())
        page.goto(f"{server.url}harness.html")
        page.wait_for_function("() => Boolean(window.mlcweb)")

        def call(method: str, *args: Any) -> Any:
            return page.evaluate("([method, args]) => window.mlcweb[method](...args)", [method, list(args)])

        result = call("load", "./bundle/", {"cache": False})
        assert "error" not in result, result
        return call

    yield load
    page.evaluate("() => window.mlcweb?.unload()")
    for server in servers:
        server.__exit__(None, None, None)


def vectors(answer: Any) -> np.ndarray:
    assert "error" not in answer, answer
    assert [one["index"] for one in answer["data"]] == list(range(len(answer["data"])))
    return np.array([one["embedding"] for one in answer["data"]])


def test_embeddings_are_those_of_each_text_in_order(loaded: Any) -> None:
    mini = MiniTexts()
    call = loaded(mini)
    texts = [f"{TEXTS[i % len(TEXTS)]} {i % 5 * 'again '}" for i in range(300)]
    answer = call("embed", {"input": texts, "truncate": True})
    assert answer["object"] == "list" and answer["model"] == "mini-texts"
    expected = np.array([mini.embedding(text) for text in texts])
    assert np.abs(vectors(answer) - expected).max() < 1e-5
    tokens = sum(len(mini.tokens(text)) for text in texts)
    assert tokens > 20 * CHUNK_TOKENS
    usage = answer["usage"]
    assert usage["prompt_tokens"] == usage["total_tokens"] == tokens


def test_one_text_dimensions_prompts_and_base64(loaded: Any) -> None:
    mini = MiniTexts()
    call = loaded(mini)
    text = TEXTS[0]
    [whole] = vectors(call("embed", {"input": text}))
    assert whole == pytest.approx(mini.embedding(text), abs=1e-6)
    for extra in ({"prompt_name": "query"}, {"prompt": "the query: "}):
        [asked] = vectors(call("embed", {"input": text, **extra}))
        assert asked == pytest.approx(mini.embedding(f"the query: {text}"), abs=1e-6)
    answer = call("embed", {"input": [text], "dimensions": 4, "encoding_format": "base64"})
    short = from_base64(answer["data"][0]["embedding"])
    assert len(short) == 4 and np.linalg.norm(short) == pytest.approx(1, abs=1e-6)
    assert short == pytest.approx(mini.embedding(text, 4), abs=1e-6)
    ids = mini.tokens(text)
    assert vectors(call("embed", {"input": ids}))[0] == pytest.approx(whole, abs=1e-6)
    both = vectors(call("embed", {"input": [ids, [7]]}))
    assert both[1] == pytest.approx(mini.of_tokens([7]) / np.linalg.norm(mini.of_tokens([7])), abs=1e-6)


def test_a_default_prompt_goes_before_every_text(loaded: Any) -> None:
    mini = MiniTexts(facts={"default_prompt": "query"})
    call = loaded(mini)
    assert vectors(call("embed", {"input": "a"}))[0] == pytest.approx(
        mini.embedding("the query: a"), abs=1e-6
    )
    plain = vectors(call("embed", {"input": "a", "prompt": ""}))[0]
    assert plain == pytest.approx(mini.embedding("a"), abs=1e-6)


@pytest.mark.parametrize(
    ("request_", "code", "said"),
    [
        ({}, "invalid-request", "input: must be a text"),
        ({"input": []}, "invalid-request", "input: has no texts"),
        ({"input": 7}, "invalid-request", "input: must be a text"),
        ({"input": ["a", 7]}, "invalid-request", r"input\[1\]: must be a string"),
        ({"input": ["a", None]}, "invalid-request", r"input\[1\]: must be a string"),
        ({"input": [[1], "a"]}, "invalid-request", r"input\[1\]: must be a list"),
        ({"input": [[]]}, "invalid-request", r"input\[0\]: has no tokens"),
        ({"input": [1, 2.5]}, "invalid-request", r"input\[1\]: must be a token"),
        ({"input": [[1], [-1]]}, "invalid-request", r"input\[1\]\[0\]: must be a token"),
        ({"input": [[1], [99999]]}, "invalid-request", r"input\[1\]\[0\]: must be a token"),
        ({"input": "a", "dimensions": 5}, "invalid-request", "dimensions: cannot be 5.* 4, 8"),
        ({"input": "a", "dimensions": 9}, "invalid-request", "dimensions: cannot be 9"),
        ({"input": "a", "encoding_format": "int8"}, "invalid-request", "encoding_format: must be"),
        ({"input": "a", "prompt_name": "document"}, "invalid-request", "prompt_name: .* it has query, none"),
        ({"input": "a", "prompt": "", "prompt_name": "query"}, "invalid-request", "prompt: cannot go with"),
        ({"input": [5], "prompt": "a"}, "invalid-request", "prompt: goes before a text"),
        ({"input": "a", "pooling": "cls"}, "invalid-request", "pooling: is not a known parameter"),
        ({"input": ["a", "b " * 40]}, "context-length", rf"input\[1\] has 42 tokens; .* at most {LIMIT}"),
        ({"input": [[5] * 25]}, "context-length", r"input\[0\] has 25 tokens"),
    ],
)
def test_wrong_requests_say_what_is_wrong(loaded: Any, request_: Any, code: str, said: str) -> None:
    call = loaded(MiniTexts())
    error = call("embed", request_)["error"]
    assert error["code"] == code
    assert re.search(said, error["message"]), error


def test_ten_thousand_texts_and_a_cancelled_request(loaded: Any, page: Page) -> None:
    mini = MiniTexts()
    call = loaded(mini)
    progress: list[Any] = []
    page.expose_function("mlcwebProgress", lambda said: progress.append(said))
    texts = [f"browser {i % 100}" for i in range(10_000)]
    answer = call("embed", {"input": texts, "dimensions": 4})
    got = vectors(answer)
    assert got.shape == (10_000, 4)
    expected = np.array([mini.embedding(text, 4) for text in texts[:100]])
    assert np.abs(got.reshape(100, 100, 4) - expected).max() < 1e-5
    assert progress[-1] == {"stage": "texts", "done": 10_000, "total": 10_000}
    done = [one["done"] for one in progress]
    assert done == sorted(done) and len(done) > 100
    script = """texts => {
      const under_way = window.mlcweb.embed({ input: texts });
      setTimeout(() => window.mlcweb.abort(), 50);
      return under_way;
    }"""
    assert page.evaluate(script, texts)["error"]["code"] == "cancelled"
    [after] = vectors(call("embed", {"input": texts[0]}))
    assert after == pytest.approx(mini.embedding(texts[0]), abs=1e-6)


def test_requests_wait_for_each_other_and_unload_ends_them(loaded: Any, page: Page) -> None:
    mini = MiniTexts()
    loaded(mini)
    script = """async ([many, one]) => {
      const [first, second] = [window.mlcweb.embed({ input: many }), window.mlcweb.embed({ input: one })];
      const vectors = [(await first).data.length, (await second).data[0].embedding];
      const late = window.mlcweb.embed({ input: many });
      await new Promise((resolve) => setTimeout(resolve, 30));
      await window.mlcweb.unload();
      return [...vectors, (await late).error.code];
    }"""
    many = [f"browser {i}" for i in range(3000)]
    count, vector, code = page.evaluate(script, [many, "one"])
    assert (count, code) == (3000, "unloaded")
    assert vector == pytest.approx(mini.embedding("one"), abs=1e-6)


def test_a_reranker_ranks_pairs(loaded: Any) -> None:
    mini = MiniTexts(reranks=True)
    call = loaded(mini)
    query = "What compiles?"
    documents = [*TEXTS, {"text": "a text"}]
    answer = call(
        "rerank", {"query": query, "documents": documents, "truncate": True, "return_documents": True}
    )
    words = [*TEXTS, "a text"]
    scores = 1 / (1 + np.exp(-np.array([mini.score(query, text) for text in words])))
    order = [int(i) for i in np.argsort(-scores)]
    assert [one["index"] for one in answer["results"]] == order
    assert [one["document"]["text"] for one in answer["results"]] == [words[i] for i in order]
    assert [one["relevance_score"] for one in answer["results"]] == pytest.approx(scores[order], abs=1e-5)
    best = call("rerank", {"query": query, "documents": words, "truncate": True, "top_n": 2})["results"]
    assert [one["index"] for one in best] == order[:2] and "document" not in best[0]
    for wrong, said in (
        ({"query": query, "documents": []}, "documents: must be a list"),
        ({"query": query, "documents": ["a", 3]}, "documents[1]: must be a string"),
        ({"query": 3, "documents": ["a"]}, "query: must be a string"),
        ({"query": query, "documents": ["a"], "instruction": "b"}, "instruction: this model has no place"),
        ({"query": query, "documents": ["a", "b " * 50]}, "documents[1] has 59 tokens"),
    ):
        assert said in call("rerank", wrong)["error"]["message"]


def test_a_template_of_pairs(loaded: Any) -> None:
    """Special tokens of the template are read; only the document is cut."""
    mini = MiniTexts(reranks=True, facts={"template": TEMPLATE, "instruction": "rank", "activation": "none"})
    call = loaded(mini)

    def score(query: str, document: str, instruction: str = "rank") -> float:
        text = f"[CLS] {instruction}: {query} [SEP] {document} [SEP]"
        ids = mini.tokenizer.encode(text, add_special_tokens=False).ids
        return float(mini.of_tokens(list(ids))[0] / 64)

    mini.tokenizer.no_truncation()
    documents = ["kernels", "{query} $& browser"]
    for extra, instruction in (({}, "rank"), ({"instruction": "the best"}, "the best")):
        answer = call("rerank", {"query": "the {document}", "documents": documents, **extra})
        found = {one["index"]: one["relevance_score"] for one in answer["results"]}
        expected = [score("the {document}", text, instruction) for text in documents]
        assert [found[0], found[1]] == pytest.approx(expected, abs=1e-4)
    long = "kernels " * 40
    assert "documents[0] has" in call("rerank", {"query": "q", "documents": [long]})["error"]["message"]
    [cut] = call("rerank", {"query": "q", "documents": [long], "truncate": True})["results"]
    texts = [f"[CLS] rank: q [SEP] {long[:n]} [SEP]" for n in range(len(long))]
    fits = [
        i for i, t in enumerate(texts) if len(mini.tokenizer.encode(t, add_special_tokens=False).ids) <= LIMIT
    ]
    # a word's part may have more tokens than the word: which of the last is taken does not matter
    near = [score("q", long[:n]) for n in fits[-8:]]
    assert min(abs(cut["relevance_score"] - one) for one in near) < 1e-4


def test_models_refuse_what_they_are_not_for(loaded: Any) -> None:
    chat = {"messages": [{"role": "user", "content": "hello"}]}
    call = loaded(MiniTexts())
    for method, *args in (
        ("create", chat),
        ("complete", "a"),
        ("greedy", [1], 2),
        ("rerank", {"query": "a"}),
    ):
        error = call(method, *args)["error"]
        assert error["code"] == "wrong-model"
        assert "embeddings.create" in error["hint"]
    info = call("info")
    assert info["embedding"]["dimensions"] == DIMENSIONS
    assert info["contextLength"] == LIMIT and info["memory"]["kv"] == 0
    call = loaded(Mini())
    for method in ("embed", "rerank"):
        error = call(method, {"input": "a"})["error"]
        assert error["code"] == "wrong-model"
        assert "chat.completions.create" in error["hint"]


@pytest.mark.parametrize("reranks", [False, True])
def test_validation_compares_tokens_and_numbers(loaded: Any, reranks: bool) -> None:
    class Wrong(MiniTexts):
        def validation(self) -> dict[str, Any]:
            right = super().validation()
            right["texts"][0]["output"][0] += 0.01
            right["texts"][1]["tokens"] = right["texts"][1]["tokens"][:-1]
            return right

    report = loaded(MiniTexts(reranks=reranks))("validate")
    assert report["ok"] and report["tier"] == "base" and report["activation"] == "float32"
    assert [one["tokens_equal"] for one in report["texts"]] == [True] * 3
    assert report["max_relative_difference"] < 1e-5
    report = loaded(Wrong(reranks=reranks))("validate")
    assert not report["ok"]
    assert [one["ok"] for one in report["texts"]] == [False, False, True]
    assert [one["tokens_equal"] for one in report["texts"]] == [True, False, True]


def test_a_text_shorter_than_the_option_contextlength(page: Page, tmp_path: Path) -> None:
    with EngineServer(ENGINE, MiniTexts().write(tmp_path / "bundle")) as server:
        page.goto(f"{server.url}harness.html")
        page.wait_for_function("() => Boolean(window.mlcweb)")
        script = """async () => {
          const { info } = await window.mlcweb.load("./bundle/", { contextLength: 5 });
          const { error } = await window.mlcweb.embed({ input: "the the the the" });
          return [info.contextLength, error.message];
        }"""
        length, message = page.evaluate(script)
        assert length == 5 and "input has 6 tokens; the model reads at most 5" in message
        page.evaluate("() => window.mlcweb.unload()")
