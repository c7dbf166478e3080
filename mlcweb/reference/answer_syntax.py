"""How a model writes what is not plain text in its answers: tool calls and reasoning."""

from __future__ import annotations

from mlcweb.contract.manifest import AnswerSyntax
from mlcweb.reference.prompt import PromptRenderer
from mlcweb.reference.reasoning_syntax import find_reasoning_syntax
from mlcweb.reference.tool_syntax import find_tool_syntax


def find_answer_syntax(renderer: PromptRenderer) -> AnswerSyntax:
    """What the manifest says of it, from the chat template and the tokens that there are."""
    return AnswerSyntax(
        tool_calls=find_tool_syntax(renderer.template, renderer.has_token),
        reasoning=find_reasoning_syntax(renderer.template),
    )
