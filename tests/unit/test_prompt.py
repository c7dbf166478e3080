"""The prompt renderer: templates as published models write them, and those that fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from bench.synthetic.tokenizer import write_tokenizer
from mlcweb.errors import CheckpointError
from mlcweb.reference.prompt import PromptRenderer


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    write_tokenizer(tmp_path)
    return {name: (tmp_path / name).read_bytes() for name in ("tokenizer.json", "tokenizer_config.json")}


def rendered(files: dict[str, bytes], **config: Any) -> str:
    """The text of ``hi``'s prompt under a changed tokenizer_config.json."""
    changed = {**json.loads(files["tokenizer_config.json"]), **config}
    renderer = PromptRenderer({**files, "tokenizer_config.json": json.dumps(changed).encode()})
    return str(
        Tokenizer.from_str(files["tokenizer.json"].decode()).decode(
            renderer.tokens("hi"), skip_special_tokens=False
        )
    )


def test_a_chat_of_one_message(files: dict[str, bytes]) -> None:
    assert rendered(files) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    renderer = PromptRenderer(files)
    tokens = renderer.tokens("hi")
    assert tokens[0] == 1 and 2 in tokens, "special tokens are single ids"
    assert renderer.decode(tokens) == "user\nhi\nassistant\n"


def test_without_a_template_the_prompt_is_a_dialogue(files: dict[str, bytes]) -> None:
    assert rendered(files, chat_template=None) == "User: hi\nAssistant:"
    tokenizer = json.loads(files["tokenizer.json"])
    bos = {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    tokenizer["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [bos, text],
        "pair": [bos, text],
        "special_tokens": {"<|im_start|>": {"id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"]}},
    }
    actual = PromptRenderer({"tokenizer.json": json.dumps(tokenizer).encode()}).tokens("hi")
    assert actual[0] == 1, "the tokenizer's bos token, which no template writes"


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ([{"name": "tool_use", "template": "no"}, {"name": "default", "template": "yes"}], "yes"),
        ([{"name": "a", "template": "first"}, {"name": "b", "template": "second"}], "first"),
        ("{% for m in messages %}\n  {{ m.content }}\n{% endfor %}", "  hi\n"),
        ("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "01"),
        ("{{ {'a': '<é>'} | tojson }}", '{"a": "<é>"}'),
        ("{{ strftime_now('%d %b %Y') }} {{ strftime_now('%Y') }}", "26 Jul 2024 2024"),
        ("{% generation %}{{ messages[0].content }}!{% endgeneration %}", "hi!"),
        ("{{ bos_token }}{{ image_token }}{{ messages[0]['content'] | trim }}", "<|im_start|>IMGhi"),
        ("{% if tools is defined and tools %}tools{% else %}none{% endif %}", "none"),
        (
            "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
            "1",
        ),
    ],
)
def test_what_templates_use(template: Any, text: str, files: dict[str, bytes]) -> None:
    assert rendered(files, chat_template=template, image_token={"content": "IMG", "special": True}) == text


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for %}", "Expected"),
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ messages[0].content.no.such }}", "no"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{% for i in range(10000000000) %}{% endfor %}", "range"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
        ("{{ nothing.at_all }}", "nothing"),
        ("{{ messages.append(1) }}", "unsafe"),
    ],
)
def test_broken_templates(template: str, said: str, files: dict[str, bytes]) -> None:
    with pytest.raises(CheckpointError, match="the chat template") as caught:
        rendered(files, chat_template=template)
    assert said in caught.value.message
    assert "Mend" in caught.value.hint


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff", b'{"model": 3}'])
def test_a_tokenizer_that_is_none(text: bytes, files: dict[str, bytes]) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer\.json cannot be used"):
        PromptRenderer({**files, "tokenizer.json": text})
