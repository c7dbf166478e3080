"""Renders a chat template in Jinja's sandbox, as transformers' ``apply_chat_template`` and the engine do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mlcweb.errors import CheckpointError
from mlcweb.reference.template_check import check_template

# Templates that print today's date get this one, so that a bundle does not depend on the day it was compiled.
COMPILE_DATE = datetime(2024, 7, 26)

# What a model without a template gets, such as a base model: a dialogue, line by line, which it goes on with.
_DIALOGUE = (
    "{% for message in messages %}{% if message.role == 'system' %}{{ message.content | trim }}\n\n{% else %}"
    "{{ message.role | capitalize }}: {{ message.content | trim }}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)


class ChatTemplate:
    """The templates and special tokens of a tokenizer_config.json.

    ``parts``: of a model that sees, whose templates are given every content as a list of parts.
    """

    def __init__(self, config: Mapping[str, Any], *, parts: bool = False) -> None:
        self.parts = parts
        self._templates = _named_templates(config.get("chat_template"))
        self._special_tokens = {}
        for name, token in config.items():
            text = token.get("content") if isinstance(token, dict) else token
            if name.endswith("_token") and isinstance(text, str):
                self._special_tokens[name] = text

    @property
    def exists(self) -> bool:
        """Whether the model has one; without, a chat is a dialogue of ``User:`` and ``Assistant:`` lines."""
        return bool(self._templates)

    @property
    def knows_tools(self) -> bool:
        """Whether a chat may have tools: the template speaks of them."""
        return bool(re.search(r"\btools\b", self._choose(True)))

    def check(self) -> None:
        """Raises CheckpointError for what is no template, UnsupportedError for what the engine does not render."""
        for name, source in self._templates.items():
            try:
                check_template(_environment(COMPILE_DATE.strftime), source, name)
            except TemplateSyntaxError as error:
                raise _failing(f"{error.message} (line {error.lineno})") from None
            except RecursionError:
                raise _failing("its expressions are nested too deeply") from None

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        now: datetime = COMPILE_DATE,
        **variables: Any,
    ) -> str:
        """The text of a conversation. Raises CheckpointError when the template fails or knows no tools."""
        chosen = self._choose(tools is not None)
        if tools is not None and not self.knows_tools:
            raise CheckpointError("the chat template in tokenizer_config.json has no place for tools")
        try:
            return (
                _environment(now.strftime)
                .from_string(chosen)
                .render(
                    **{**self._special_tokens, **variables},
                    messages=[_in_parts(message) for message in messages] if self.parts else list(messages),
                    tools=tools,
                    documents=None,
                    add_generation_prompt=add_generation_prompt,
                )
            )
        except Exception as error:  # a template is a program: it may divide by zero
            raise _failing(str(error) or type(error).__name__) from None

    def _choose(self, with_tools: bool) -> str:
        """Of several ``tool_use`` for tools, else ``default``, else the first, as the engine takes them."""
        if with_tools and "tool_use" in self._templates:
            return self._templates["tool_use"]
        return self._templates.get("default", next(iter(self._templates.values()), _DIALOGUE))


def _in_parts(message: Mapping[str, Any]) -> Mapping[str, Any]:
    content = message.get("content")
    return (
        {**message, "content": [{"type": "text", "text": content}]} if isinstance(content, str) else message
    )


def _failing(why: str) -> CheckpointError:
    return CheckpointError(
        f"the chat template in tokenizer_config.json fails: {why}",
        hint="Mend the template in the checkpoint and compile again.",
    )


def _named_templates(value: Any) -> dict[str, str]:
    if isinstance(value, str):
        return {"default": value}
    templates = {}
    for entry in value if isinstance(value, list) else []:
        name, template = (entry.get(key) if isinstance(entry, dict) else None for key in ("name", "template"))
        if isinstance(name, str) and isinstance(template, str):
            templates[name] = template
    return templates


class _GenerationTag(Extension):
    """``{% generation %}`` marks what the model wrote, for training; its inside is printed, in its own scope."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own declaration

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


def _environment(strftime_now: Callable[[str], str]) -> ImmutableSandboxedEnvironment:
    def refuse(message: str) -> NoReturn:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _GenerationTag]
    )
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = strftime_now
    environment.filters["tojson"] = _to_json
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """transformers' filter: Jinja's own escapes what HTML would not admit."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
