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
        """Raises CheckpointError when a file cannot be used."""
        try:
            self._tokenizer = Tokenizer.from_str(tokenizer_files["tokenizer.json"].decode())
        except Exception as error:  # the library raises plain Exception
            raise CheckpointError(
                f"tokenizer.json cannot be used: {error}",
                hint="Save it anew with transformers: AutoTokenizer.from_pretrained(...).save_pretrained(folder).",
            ) from None
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
        """The chat template; of several named ones ``default``, else the first, as the engine takes them."""
        template = self._config.get("chat_template")
        if isinstance(template, list):
            named = {t.get("name"): t.get("template") for t in template if isinstance(t, dict)}
            template = named.get("default", next(iter(named.values()), None))
        return template if isinstance(template, str) else None

    def _special_tokens(self) -> dict[str, str]:
        texts = {}
        for name, token in self._config.items():
            text = token.get("content") if isinstance(token, dict) else token
            if name.endswith("_token") and isinstance(text, str):
                texts[name] = text
        return texts

    def _render(self, template: str, messages: list[dict[str, str]]) -> str:
        def refuse(message: str) -> NoReturn:
            raise TemplateError(message)

        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = refuse
        environment.globals["strftime_now"] = lambda _format: _DATE
        environment.filters["tojson"] = _to_json
        try:
            compiled = environment.from_string(template)
            return compiled.render(messages=messages, add_generation_prompt=True, **self._special_tokens())
        except Exception as error:  # a template is a program: it may divide by zero
            raise CheckpointError(
                f"the chat template in tokenizer_config.json fails: {error or type(error).__name__}",
                hint="Mend the template in the checkpoint and compile again.",
            ) from None


def _to_json(value: Any, indent: int | None = None) -> str:
    """transformers' filter: Jinja's own escapes what HTML would not admit."""
    return json.dumps(value, ensure_ascii=False, indent=indent)
