"""What the manifest says of tool calls and reasoning, for every chat template that there is a fixture of."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.synthetic.tokenizer import write_tokenizer
from mlcweb.contract.manifest import AnswerSyntax, ReasoningSyntax, ToolCallSyntax
from mlcweb.reference.answer_syntax import find_answer_syntax
from mlcweb.reference.prompt import PromptRenderer
from mlcweb.reference.template import ChatTemplate
from mlcweb.reference.tool_syntax import HERMES, find_tool_syntax

FIXTURES = Path(__file__).parents[1] / "fixtures" / "text"
TEMPLATES = {
    path.stem: path
    for folder in ("templates", "tool_templates")
    for path in sorted((FIXTURES / folder).iterdir())
}

PARTS = {"begin": "", "call_begin": "", "call_end": "", "end": ""}
JSON: dict[str, Any] = {"form": "json", **PARTS, "name_key": "name", "arguments_key": "arguments"}
DEEPSEEK = {
    "form": "named-json",
    "begin": "<|tool▁calls▁begin|>",
    "call_begin": "<|tool▁call▁begin|>function<|tool▁sep|>",
    "name_end": "\n```json\n",
    "call_end": "\n```<|tool▁call▁end|>",
    "separator": "\n",
    "end": "<|tool▁calls▁end|>",
}
THINK, THINK_IN_BRACKETS = ReasoningSyntax("<think>", "</think>"), ReasoningSyntax("[THINK]", "[/THINK]")
UNKNOWING = (
    "features gemma gemma3 llama2 llama3 mistral-v0.1 olmo2 phi3 phi3.5 qwen2 smollm2 stablelm2 zephyr"
)

# By template: who tells the model of its tools, who writes earlier calls, and what differs from Hermes' format.
CALLS: dict[str, tuple[str, str, dict[str, Any]]] = {
    **{name: ("engine", "engine", {}) for name in UNKNOWING.split()},
    "qwen2.5": ("template", "template", {}),
    "qwen3": ("template", "template", {}),
    "hermes3": ("template", "template", {}),
    "smollm3": ("template", "engine", {}),
    "llama3.1": (
        "template",
        "template",
        {**JSON, "arguments_key": "parameters", "prefix": "<|python_tag|>", "separator": None},
    ),
    "llama-pythonic": (
        "template",
        "template",
        {**PARTS, "form": "pythonic", "begin": "[", "separator": ", ", "end": "]"},
    ),
    "llama-pythonic-told": (
        "template",
        "engine",
        {**PARTS, "form": "pythonic", "begin": "[", "separator": ", ", "end": "]"},
    ),
    "mistral-v0.3": ("template", "template", {**JSON, "begin": "[TOOL_CALLS] [", "separator": ", ", "end": "]"}),
    "mistral-v11": (
        "template",
        "template",
        {**PARTS, "form": "named-json", "call_begin": "[TOOL_CALLS]", "name_end": "[ARGS]", "separator": ""},
    ),
    "magistral": (
        "template",
        "template",
        {**PARTS, "form": "named-json", "call_begin": "[TOOL_CALLS]", "name_end": "", "separator": ""},
    ),
    "phi4-mini": (
        "message",
        "engine",
        {**JSON, "begin": "<|tool_call|>[", "separator": ", ", "end": "]<|/tool_call|>"},
    ),
    "phi4-mini-vllm": (
        "template",
        "template",
        {**JSON, "begin": "<|tool_call|>[", "separator": ", ", "end": "]<|/tool_call|>"},
    ),
    "deepseek-r1": ("engine", "template", DEEPSEEK),
    "deepseek-r1-distill": ("engine", "engine", DEEPSEEK),
    "deepseek-v3.1": (
        "engine",
        "template",
        {
            **DEEPSEEK,
            "call_begin": "<|tool▁call▁begin|>",
            "name_end": "<|tool▁sep|>",
            "call_end": "<|tool▁call▁end|>",
            "separator": "",
        },
    ),
    "qwen3-coder": (
        "template",
        "template",
        {
            "form": "tagged",
            "call_begin": "<tool_call>\n<function=",
            "name_end": ">\n",
            "key_begin": "<parameter=",
            "key_end": ">\n",
            "value_end": "\n</parameter>\n",
            "call_end": "</function>\n</tool_call>",
        },
    ),
    "glm4.5": (
        "template",
        "template",
        {
            "form": "tagged",
            "call_begin": "<tool_call>",
            "name_end": "",
            "key_begin": "<arg_key>",
            "key_end": "</arg_key>\n<arg_value>",
            "value_end": "</arg_value>",
            "call_end": "</tool_call>",
        },
    ),
}  # fmt: skip
TOKENS = {"phi4-mini": ("<|tool_call|>", "<|/tool_call|>")}
REASONING = {
    **dict.fromkeys(
        ("qwen3", "smollm3", "deepseek-r1", "deepseek-r1-distill", "deepseek-v3.1", "glm4.5"), THINK
    ),
    "magistral": THINK_IN_BRACKETS,
}


def found(folder: Path, template: str, *tokens: str) -> AnswerSyntax:
    write_tokenizer(folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_bytes())
    after = 1 + max(token["id"] for token in tokenizer["added_tokens"])
    after = max(after, 1 + max(tokenizer["model"]["vocab"].values()))
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    tokenizer["added_tokens"] += [
        {"id": after + index, "content": token, **flags} for index, token in enumerate(tokens)
    ]
    config = {"chat_template": template, "bos_token": "<s>", "eos_token": "</s>"}
    files = {
        "tokenizer.json": json.dumps(tokenizer).encode(),
        "tokenizer_config.json": json.dumps(config).encode(),
    }
    return find_answer_syntax(PromptRenderer(files))


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_syntax_of_every_template(name: str, tmp_path: Path) -> None:
    syntax = found(tmp_path, TEMPLATES[name].read_text(encoding="utf-8"), *TOKENS.get(name, ()))
    tools, turns, differs = CALLS[name]
    if name.startswith("deepseek"):  # whose tags have bars of full width
        differs = {key: value.replace("|", "\uff5c") for key, value in differs.items()}
    expected: dict[str, Any] = {**vars(HERMES), **differs, "tools": tools, "turns": turns}
    if expected["form"] != "json":
        expected |= {"name_key": None, "arguments_key": None}
    assert syntax.tool_calls == ToolCallSyntax(**expected)
    assert syntax.reasoning == REASONING.get(name)


def test_every_template_is_in_the_table() -> None:
    assert set(CALLS) == set(TEMPLATES)


def test_a_model_without_a_template_is_told_by_the_engine(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    renderer = PromptRenderer({"tokenizer.json": (tmp_path / "tokenizer.json").read_bytes()})
    assert find_answer_syntax(renderer) == AnswerSyntax(tool_calls=HERMES)


CALLED = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% for call in message.tool_calls %}"
TOLD = "{% if tools %}{% for tool in tools %}{{ tool.function.name }} {% endfor %}{% endif %}"


def of_source(source: str) -> ToolCallSyntax | None:
    return find_tool_syntax(ChatTemplate({"chat_template": source}), lambda token: False)


def test_what_cannot_be_described_is_said_of_nobody() -> None:
    backwards = (
        TOLD + CALLED + "{{ call.function.name[::-1] }} {{ call.function.name }}?{% endfor %}{% endfor %}"
    )
    assert of_source(backwards) is None


def test_markers_that_have_ids_are_none() -> None:
    with_id = TOLD + CALLED + "<{{ call.id }}>{{ call.function | tojson }}{% endfor %}{% endfor %}"
    assert of_source(with_id) is None


def test_markers_that_are_too_long_are_none() -> None:
    long = TOLD + CALLED + "<" + 300 * "x" + ">{{ call.function | tojson }}{% endfor %}{% endfor %}"
    assert of_source(long) is None


def test_markers_are_cut_between_tags() -> None:
    nested = (
        TOLD + "{% for message in messages %}<{{ message.role }}>{{ message.content }}"
        "{% if message.tool_calls %}<calls>{% for call in message.tool_calls %}"
        "<call>{{ call.function | tojson }}</call>{% endfor %}</calls>{% endif %}{% endfor %}"
    )
    found = of_source(nested)
    parts = {
        "begin": "<calls>",
        "call_begin": "<call>",
        "call_end": "</call>",
        "separator": "",
        "end": "</calls>",
    }
    assert found == replace(HERMES, tools="template", turns="template", **parts)
