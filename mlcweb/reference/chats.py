"""Makes the conversations that a bundle is checked with: their text and token ids, as this compiler renders them."""

from __future__ import annotations

from typing import Any

from mlcweb.errors import CheckpointError
from mlcweb.reference.prompt import PromptRenderer

_SYSTEM = {"role": "system", "content": "You are terse.\nÇa va. "}
_TURNS = [
    {"role": "user", "content": "  What is 1 < 2 & 'three'?\n"},
    {"role": "assistant", "content": " True.\n\n"},
    {"role": "user", "content": '👩‍👩‍👧 "ok" 12345\t{{ x }}'},
    {"role": "assistant", "content": "是的, naïve — 3.14"},
    {"role": "user", "content": "Bye"},
]
_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a place: “now” & later <soon>.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "München, 東京, …"},
                    "days": {"type": "integer", "enum": [1, 2, 3]},
                },
                "required": ["city"],
            },
        },
    }
]
_CALLS = [
    {"role": "user", "content": "Weather in München?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "type": "function",
                "id": "abcdefgh1",
                "function": {"name": "get_weather", "arguments": {"city": "München", "days": 2}},
            }
        ],
    },
    {"role": "tool", "content": '{"rain": false}', "name": "get_weather", "tool_call_id": "abcdefgh1"},
    {"role": "assistant", "content": "No rain."},
    {"role": "user", "content": "Thanks"},
]


def make_chats(renderer: PromptRenderer, prompt: str) -> list[dict[str, Any]]:
    """The prompt, several turns, a system message, and what the template has of pictures and tools
    (docs/bundle-format.md).

    A conversation that the template refuses is ``refused``: the engine is to refuse it too.
    """
    chats: list[dict[str, Any]] = [
        {"messages": [{"role": "user", "content": prompt}]},
        {"messages": _TURNS},
        {"messages": [_SYSTEM, *_TURNS]},
    ]
    if renderer.template.parts:
        seen = [{"type": "image"}, {"type": "text", "text": prompt}]
        chats.append({"messages": [{"role": "user", "content": seen}]})
    if renderer.template.knows_tools:
        chats += [{"messages": messages, "tools": _TOOLS} for messages in ([_SYSTEM, _TURNS[0]], _CALLS)]
    return [{**chat, **_rendered(renderer, chat)} for chat in chats]


def _rendered(renderer: PromptRenderer, chat: dict[str, Any]) -> dict[str, Any]:
    try:
        text = renderer.template.render(chat["messages"], tools=chat.get("tools"))
    except CheckpointError:
        return {"refused": True}
    return {"text": text, "tokens": renderer.encode(text)}
