"""Every family's chat template, rendered as transformers does (tests/fixtures/text/make_templates.py)."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from mlcweb.errors import CheckpointError
from mlcweb.reference.template import ChatTemplate
from mlcweb.sources.tokenizer_files import read_tokenizer_files
from tests.fixtures.text.make_templates import CONVERSATIONS, FAMILIES, OUTPUT, TOOLS, write_checkpoint

NOW = datetime(2024, 7, 26, 14, 5, 9)
EXPECTED: dict[str, Any] = json.loads(OUTPUT.read_text(encoding="utf-8"))


def test_the_fixture_is_of_these_conversations() -> None:
    assert EXPECTED["conversations"] == CONVERSATIONS and EXPECTED["tools"] == TOOLS
    assert [family["name"] for family in EXPECTED["families"]] == list(FAMILIES)


@pytest.mark.parametrize("family", EXPECTED["families"], ids=lambda family: str(family["name"]))
def test_the_text_is_that_of_transformers(family: dict[str, Any], tmp_path: Path) -> None:
    write_checkpoint(tmp_path, family["name"])
    template = ChatTemplate(json.loads(read_tokenizer_files(tmp_path)["tokenizer_config.json"]))
    for case in family["cases"]:
        messages = CONVERSATIONS[case["conversation"]]
        arguments = {
            "tools": TOOLS if case["tools"] else None,
            "add_generation_prompt": case["prompt"],
            "now": NOW,
        }
        arguments |= case.get("options", {})
        if "text" in case:
            assert template.render(messages, **arguments) == case["text"]
        else:
            with pytest.raises(CheckpointError) as caught:
                template.render(messages, **arguments)
            assert case["error"] in caught.value.message


def test_tools_are_not_dropped() -> None:
    with pytest.raises(CheckpointError, match="no place for tools"):
        ChatTemplate({"chat_template": "{{ messages[0].content }}"}).render(CONVERSATIONS["one"], tools=TOOLS)
