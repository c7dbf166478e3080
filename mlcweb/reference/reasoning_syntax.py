"""What a chat template puts around a model's reasoning, found by rendering it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mlcweb.contract.manifest import ReasoningSyntax
from mlcweb.errors import CheckpointError
from mlcweb.reference.template import ChatTemplate

_REASONING, _WORDS = "Weighing it.", "Plain words."
_QUESTION = {"role": "user", "content": "Which?"}

# Markers that models reason between, for templates that write or drop what is between them but take none apart.
_KNOWN = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
)


def find_reasoning_syntax(template: ChatTemplate) -> ReasoningSyntax | None:
    """The markers around reasoning; None for a template that knows of none."""
    return _around_reasoning(template) or _known_pair(template)


def _around_reasoning(template: ChatTemplate) -> ReasoningSyntax | None:
    """From a turn whose reasoning is given apart, as Qwen3's template takes it."""
    turn = {"role": "assistant", "content": _WORDS, "reasoning_content": _REASONING, "thinking": _REASONING}
    text = _render(template, [_QUESTION, turn])
    marker = r"<[^<>\s]+>|\[[A-Z]+\]"
    found = re.search(
        rf"(?P<begin>{marker})\s*{re.escape(_REASONING)}\s*(?P<end>{marker.replace('<', '</', 1)}|\[/[A-Z]+\])",
        text,
    )
    return ReasoningSyntax(begin=found["begin"], end=found["end"]) if found else None


def _known_pair(template: ChatTemplate) -> ReasoningSyntax | None:
    """From what begins an answer, or from reasoning in an earlier turn's words that the template drops."""
    begun = [
        _render(template, [_QUESTION], begin=True, enable_thinking=thinking) for thinking in (True, False)
    ]
    for begin, end in _KNOWN:
        earlier = {"role": "assistant", "content": f"{begin}\n{_REASONING}\n{end}\n\n{_WORDS}"}
        text = _render(template, [_QUESTION, earlier, _QUESTION])
        if any(begin in prompt for prompt in begun) or (_WORDS in text and _REASONING not in text):
            return ReasoningSyntax(begin=begin, end=end)
    return None


def _render(
    template: ChatTemplate, messages: Sequence[Mapping[str, Any]], begin: bool = False, **variables: Any
) -> str:
    try:
        return template.render(messages, add_generation_prompt=begin, **variables)
    except CheckpointError:
        return ""
