"""A prompt as the engine renders it: the chat template in Jinja's sandbox, then the tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from mlcweb.errors import CheckpointError

# Templates that print today's date get this one, so that a bundle does not depend on the day it was compiled.
_DATE = "26 Jul 2024"


class PromptRenderer:
    """Renders with ``tokenizer.json`` and ``tokenizer_config.json``'s chat template, if it has one."""

    def __init__(self, tokenizer_files: Mapping[str, bytes]) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer_files["tokenizer.json"].decode())
        self._config: dict[str, Any] = json.loads(tokenizer_files.get("tokenizer_config.json", b"{}"))

    def tokens(self, prompt: str) -> list[int]:
        """Ids of a conversation of one user message, ready for the answer. Raises CheckpointError."""
        template = self._template()
        if template is None:
            return list(self._tokenizer.encode(prompt).ids)
        text = self._render(template, [{"role": "user", "content": prompt}])
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: list[int]) -> str:
        """Text of ids, special tokens left out."""
        return str(self._tokenizer.decode(tokens))

    def _template(self) -> str | None:
        template = self._config.get("chat_template")
        if isinstance(template, list):  # several named templates
            named = {t.get("name"): t.get("template") for t in template if isinstance(t, dict)}
            template = named.get("default")
        return template if isinstance(template, str) else None

    def _render(self, template: str, messages: list[dict[str, str]]) -> str:
        def refuse(message: str) -> NoReturn:
            raise TemplateError(message)

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = refuse
        environment.globals["strftime_now"] = lambda _format: _DATE
        special = {}
        for name in ("bos_token", "eos_token", "unk_token", "pad_token"):
            token = self._config.get(name)
            special[name] = token.get("content", "") if isinstance(token, dict) else token or ""
        try:
            compiled = environment.from_string(template)
            return compiled.render(messages=messages, add_generation_prompt=True, **special)
        except (TemplateError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"the chat template in tokenizer_config.json fails: {error}",
                hint="Mend the template in the checkpoint and compile again.",
            ) from None
