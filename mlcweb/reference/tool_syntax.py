"""How a chat template writes tool calls, found by rendering calls and looking at what is around them.

A template that writes none may still describe the format to the model, or have tokens for it: then the format is
one of those that are known. Where a template knows nothing of tools the engine describes them, and asks for Hermes'
format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mlcweb.contract.constants import ToolTeller, TurnWriter
from mlcweb.contract.manifest import ToolCallSyntax
from mlcweb.errors import CheckpointError
from mlcweb.reference.template import ChatTemplate
from mlcweb.reference.tool_call_forms import ARGUMENTS, CALL_IDS, KEYS, NAMES, common_start, describe_calls

Json = dict[str, Any]

_TOOLS: list[Json] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "Probes.",
            "parameters": {
                "type": "object",
                "properties": {key: {"type": "string", "description": "A city."} for key in KEYS},
                "required": list(KEYS),
            },
        },
    }
    for name in NAMES
]
_WORDS = "Plain words."
_QUESTION = {"role": "user", "content": "Which?"}

#: Hermes' and Qwen's format, which the engine asks for where a template has none.
HERMES = ToolCallSyntax(
    form="json",
    tools="engine",
    turns="engine",
    begin="",
    call_begin="<tool_call>\n",
    call_end="\n</tool_call>",
    separator="\n",
    end="",
    name_key="name",
    arguments_key="arguments",
)


def _listed(begin: str, end: str, arguments_key: str = "arguments") -> ToolCallSyntax:
    return replace(
        HERMES,
        begin=begin,
        end=end,
        call_begin="",
        call_end="",
        separator=", ",
        arguments_key=arguments_key,
    )


# Formats that a template only speaks of, each with what it then says or which token the tokenizer has.
_SPOKEN_OF = {
    "<function=": replace(
        HERMES,
        form="tagged",
        call_begin="<tool_call>\n<function=",
        name_end=">\n",
        key_begin="<parameter=",
        key_end=">\n",
        value_end="\n</parameter>\n",
        call_end="</function>\n</tool_call>",
        name_key=None,
        arguments_key=None,
    ),
    "<tool_call>": HERMES,
    "<|tool_call|>": _listed("<|tool_call|>[", "]<|/tool_call|>"),
    "functools[": _listed("functools[", "]"),
    "[TOOL_CALLS]": _listed("[TOOL_CALLS] [", "]"),
    "[func_name1(": replace(_listed("[", "]"), form="pythonic", name_key=None, arguments_key=None),
}


def find_tool_syntax(template: ChatTemplate, has_token: Callable[[str], bool]) -> ToolCallSyntax | None:
    """The syntax of calls; None where the template writes calls in a way that this compiler cannot describe.

    ``has_token``: whether the tokenizer has a token of that text.
    """
    told = _render(template, [_QUESTION])
    teller: ToolTeller = "engine"
    if told is not None and NAMES[0] in told:
        teller = "template"
    elif _tells_by_message(template):
        teller = "message"
    syntax, writes = _rendered_syntax(template)
    if syntax is not None:
        return replace(syntax, tools=teller, prefix=_prefix(template))
    if writes and teller != "engine":
        return None
    if teller == "engine":
        return HERMES
    signs = [sign for sign in _SPOKEN_OF if sign in (told or "")] or [
        sign for sign in _SPOKEN_OF if has_token(sign)
    ]
    return replace(_SPOKEN_OF[signs[0]], tools=teller) if signs else HERMES


def _tells_by_message(template: ChatTemplate) -> bool:
    """Whether tools are a key of the system message, as Phi-4's are: JSON in a string."""
    text = _render(
        template, [{"role": "system", "content": "Be terse.", "tools": json.dumps(_TOOLS)}, _QUESTION]
    )
    return text is not None and NAMES[0] in text


def _render(template: ChatTemplate, messages: Sequence[Mapping[str, Any]], **variables: Any) -> str | None:
    """With tools where there is a place for them; None where the template refuses."""
    tools = _TOOLS if template.knows_tools else None
    try:
        return template.render(messages, tools=tools, add_generation_prompt=False, **variables)
    except CheckpointError:
        return None


def _called(content: str | None, in_string: bool, *indices: int) -> Json:
    """A turn with calls, whose arguments are an object or JSON in a string."""
    calls = [
        {
            "type": "function",
            "id": CALL_IDS[index],
            "function": {
                "name": NAMES[index],
                "arguments": json.dumps(ARGUMENTS[index]) if in_string else ARGUMENTS[index],
            },
        }
        for index in indices
    ]
    return {"role": "assistant", "content": content, "tool_calls": calls}


def _spans(template: ChatTemplate) -> Iterator[tuple[TurnWriter, str, str | None]]:
    """What the template writes for one call, and for two where it can, without what is around any answer.

    The engine gives no words as "" and arguments as objects: what needs others it must write itself.
    """
    words = _render(template, [_QUESTION, {"role": "assistant", "content": _WORDS}])
    if words is None or _WORDS not in words:
        return
    for content, in_string in (("", False), (None, False), ("", True), (None, True)):
        one, two = (
            _render(template, [_QUESTION, _called(content, in_string, *indices)])
            for indices in ((0,), (0, 1))
        )
        inside = None if one is None else _inside(one, words)
        if inside is not None and NAMES[0] in inside:
            writer: TurnWriter = "engine" if content is None or in_string else "template"
            yield writer, inside, None if two is None else _inside(two, words)


def _inside(text: str, words: str) -> str:
    """Without what begins and ends a turn of plain words as well."""
    before = len(common_start(text, words[: words.rindex(_WORDS)]))
    rest = text[before:]
    after = len(common_start(rest[::-1], words[words.rindex(_WORDS) + len(_WORDS) :][::-1]))
    return rest[: len(rest) - after]


def _rendered_syntax(template: ChatTemplate) -> tuple[ToolCallSyntax | None, bool]:
    """The syntax of calls that the template writes, and whether it writes calls at all."""
    writes = False
    for writer, one, two in _spans(template):
        writes = True
        fields = describe_calls(one, two)
        if fields is not None:
            return ToolCallSyntax(tools="engine", turns=writer, **fields), True
    return None, writes


def _prefix(template: ChatTemplate) -> str | None:
    """What may come before a call for tools of the template's own, such as Llama 3.1's <|python_tag|>."""
    text = _render(template, [_QUESTION, _called("", False, 0)], builtin_tools=[NAMES[0]])
    match = re.search(rf"(<\|[a-z_]+\|>){NAMES[0]}\.call\(", text or "")
    return match[1] if match else None
