"""The conversations in validation.json: what the template makes of them, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.synthetic.tokenizer import write_tokenizer
from mlcweb.reference.chats import make_chats
from mlcweb.reference.prompt import PromptRenderer
from tests.fixtures.text.make_templates import FAMILIES, FOLDER


def chats(tmp_path: Path, **config: Any) -> list[dict[str, Any]]:
    write_tokenizer(tmp_path)
    files = {"tokenizer.json": (tmp_path / "tokenizer.json").read_bytes()}
    return make_chats(
        PromptRenderer({**files, "tokenizer_config.json": json.dumps(config).encode()}), "hello"
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_the_prompt_and_several_turns(family: str, tmp_path: Path) -> None:
    specials, _, with_tools, _, _ = FAMILIES[family]
    template = (FOLDER / f"{family}.jinja").read_text(encoding="utf-8")
    actual = chats(tmp_path, chat_template=template, **specials)
    assert json.loads(json.dumps(actual)) == actual
    assert [len(chat["messages"]) for chat in actual] == ([1, 5, 6, 2, 5] if with_tools else [1, 5, 6])
    assert all(chat["tokens"] and chat["text"] for chat in actual[:2])
    assert "hello" in actual[0]["text"] and "是的, naïve" in actual[1]["text"]
    for chat in actual[3:]:
        assert chat.get("refused") or family == "features" or "get_weather" in chat["text"]


def test_what_the_template_refuses_is_said(tmp_path: Path) -> None:
    template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}{{ messages | length }}"
    )
    actual = chats(tmp_path, chat_template=template)
    assert [chat.get("text") for chat in actual] == ["1", "5", None]
    assert actual[2] == {"messages": actual[2]["messages"], "refused": True}


def test_a_dialogue_without_a_template(tmp_path: Path) -> None:
    actual = chats(tmp_path)
    assert len(actual) == 3 and actual[0]["text"] == "User: hello\nAssistant:"
