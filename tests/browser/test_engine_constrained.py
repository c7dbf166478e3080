"""Answers under a constraint, in a real browser: the mask on the GPU, the one on the CPU, and what they share."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from playwright.sync_api import Page

from mlcweb.browser.page import open_page
from tests.support.browser.engine_server import EngineServer
from tests.support.browser.mini_bundle import Mini
from tests.support.engine import ENGINE, needs_engine

pytestmark = needs_engine

USER = [{"role": "user", "content": "hello"}]
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "kind": {"enum": ["a", "bc", None, 12]},
        "n": {"type": "integer", "minimum": -3, "maximum": 250},
        "list": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2},
    },
    "required": ["name", "kind", "n", "list"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": SCHEMA}}
FORCED_FIRST = '{"name": "'


@pytest.fixture(scope="module")
def page(chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    bundle = Mini().write(tmp_path_factory.mktemp("mini"))
    with EngineServer(ENGINE, bundle) as server, open_page(chromium, hold_signals=False) as page:
        page.open(f"{server.url}harness.html", ready="() => Boolean(window.mlcweb)")
        loaded = call(page.raw, "load", "./bundle/", {"contextLength": 128})
        assert "error" not in loaded, loaded
        yield page.raw


def call(page: Page, method: str, *args: Any) -> Any:
    script = """([method, args]) => Promise.race([window.mlcweb[method](...args),
      new Promise((_, reject) => setTimeout(() => reject(new Error(`${method} hangs`)), 300000))])"""
    return page.evaluate(script, [method, list(args)])


def check(text: str) -> None:
    jsonschema.validate(json.loads(text), SCHEMA)


@pytest.mark.parametrize("options", [{}, {"top_p": 0.7}, {"top_k": 3}, {"logprobs": True}, {"min_p": 0.01}])
def test_every_answer_is_valid(page: Page, options: dict[str, Any]) -> None:
    """By the GPU's sampler, and with options that need the CPU's."""
    seen = set()
    for seed in range(12):
        request = {"temperature": 1.5, "seed": seed, "response_format": FORMAT, **options}
        answer = call(page, "chat", USER, request)
        assert answer.get("finish_reason") == "stop", answer
        check(answer["text"])
        seen.add(answer["text"])
    on_cpu = "logprobs" in options or "min_p" in options  # where this model is always greedy
    assert len(seen) > 6 or on_cpu


def test_a_cut_answer_says_so_and_the_next_is_whole(page: Page) -> None:
    for tokens in (1, 5, len(FORCED_FIRST), len(FORCED_FIRST) + 1, 30):
        request = {"temperature": 1, "seed": 3, "max_tokens": tokens, "response_format": FORMAT}
        cut = call(page, "chat", USER, request)
        assert cut["finish_reason"] == "length" and cut["usage"]["completion_tokens"] == tokens
        assert cut["text"].startswith(FORCED_FIRST[:tokens])
        whole = call(page, "chat", USER, {"temperature": 1, "seed": 3, "response_format": FORMAT})
        assert whole["text"].startswith(cut["text"])
        check(whole["text"])


def test_choices_have_a_constraint_each(page: Page) -> None:
    answer = call(
        page,
        "create",
        {"messages": USER, "n": 3, "temperature": 1.5, "seed": 5, "response_format": FORMAT},
    )
    texts = [choice["message"]["content"] for choice in answer["choices"]]
    for text in texts:
        check(text)
    assert len(set(texts)) > 1


def test_free_answers_are_what_they_were(page: Page) -> None:
    """A constrained answer leaves no mask behind, and its KV cache is the conversation's."""
    before = call(page, "chat", USER, {"temperature": 0, "max_tokens": 20})
    constrained = call(page, "chat", USER, {"temperature": 0, "response_format": FORMAT})
    check(constrained["text"])
    assert call(page, "chat", USER, {"temperature": 0, "max_tokens": 20})["text"] == before["text"]
    turns = [*USER, {"role": "assistant", "content": constrained["text"]}, {"role": "user", "content": "x"}]
    call(page, "chat", USER, {"temperature": 0, "response_format": FORMAT})
    warm = call(page, "chat", turns, {"temperature": 0, "max_tokens": 8})
    assert warm["usage"]["extra"]["cached_prompt_tokens"] > len(constrained["text"])
    call(page, "reset")
    cold = call(page, "chat", turns, {"temperature": 0, "max_tokens": 8})
    assert cold["usage"]["extra"]["cached_prompt_tokens"] == 0
    assert warm["text"] == cold["text"]


def test_the_same_seed_gives_the_same_answer(page: Page) -> None:
    request = {"temperature": 1.2, "seed": 11, "response_format": FORMAT}
    assert call(page, "chat", USER, request)["text"] == call(page, "chat", USER, request)["text"]


def test_expressions_grammars_and_tags(page: Page) -> None:
    forms = {
        r"[ab]{3}-\d{2,4}é": {"type": "regex", "regex": r"[ab]{3}-\d{2,4}é"},
        r"(x|yy)+z": {"type": "grammar", "grammar": 'root ::= item+ "z"\nitem ::= "x" | "yy"'},
        r"\{.*\}": {"type": "json_object", "schema": json.dumps(SCHEMA)},
        r"<n>\d{1,3}</n>": {
            "type": "structural_tag",
            "structural_tag": {
                "type": "structural_tag",
                "format": {
                    "type": "tag",
                    "begin": "<n>",
                    "content": {"type": "regex", "pattern": "[0-9]{1,3}"},
                    "end": "</n>",
                },
            },
        },
    }
    for pattern, form in forms.items():
        for seed in range(3):
            answer = call(page, "chat", USER, {"temperature": 1, "seed": seed, "response_format": form})
            assert answer.get("finish_reason") == "stop", answer
            assert re.fullmatch(pattern, answer["text"]), answer


def test_what_is_refused(page: Page) -> None:
    def schema(schema: Any) -> dict[str, Any]:
        return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}

    refused = {
        "response_format.json_schema.schema": schema(False),
        "response_format.json_schema.schema.uniqueItems": schema({"type": "array", "uniqueItems": True}),
        "response_format.regex": {"type": "regex", "regex": "(?=a)b"},
        "response_format.grammar": {"type": "grammar", "grammar": "root ::= root"},
        "response_format.type": {"type": "yaml"},
        "response_format.schema": {"type": "json_object", "schema": "{"},
    }
    for field, form in refused.items():
        error = call(page, "chat", USER, {"response_format": form})["error"]
        assert error["code"] == "invalid-request", (field, error)
        assert field in error["message"], (field, error)
    check(call(page, "chat", USER, {"response_format": FORMAT, "temperature": 0})["text"])
