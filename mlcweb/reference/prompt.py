"""Makes a prompt as the engine does: the chat template, then the tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping

from mlcweb.reference.template import ChatTemplate
from mlcweb.sources.tokenizer_check import guarded, load_tokenizer


class PromptRenderer:
    """Renders with ``tokenizer.json`` and ``tokenizer_config.json``'s chat template, if it has one.

    ``parts``: of a model that sees, as ``ChatTemplate`` has it.
    """

    def __init__(self, tokenizer_files: Mapping[str, bytes], *, parts: bool = False) -> None:
        """Raises CheckpointError when a file cannot be used, UnsupportedError when the engine lacks what it uses."""
        self._tokenizer = load_tokenizer(tokenizer_files["tokenizer.json"])
        config = json.loads(tokenizer_files.get("tokenizer_config.json", b"{}"))
        self.template = ChatTemplate(config, parts=parts)
        self.template.check()

    def tokens(self, prompt: str) -> list[int]:
        """Ids of a conversation of one user message, ready for the answer. Raises CheckpointError.

        A template writes its special tokens itself; a dialogue has what the tokenizer puts before a text.
        """
        return self.encode(self.template.render([{"role": "user", "content": prompt}]))

    def encode(self, text: str) -> list[int]:
        """Ids of a rendered conversation. Raises CheckpointError."""
        special = not self.template.exists
        return guarded(lambda: list(self._tokenizer.encode(text, add_special_tokens=special).ids))

    def text(self, text: str) -> tuple[list[int], list[int]]:
        """Ids of a plain text, and of what the tokenizer puts before it, such as a BOS. Raises CheckpointError."""

        def encode(what: str, special: bool) -> list[int]:
            return guarded(lambda: list(self._tokenizer.encode(what, add_special_tokens=special).ids))

        ids, around, whole = encode(text, False), encode("", True), encode(text, True)
        before = next(
            (
                n
                for n in range(len(around), 0, -1)
                if whole[:n] == around[:n] and whole[n : n + len(ids)] == ids
            ),
            0,
        )
        return ids, around[:before]

    def has_token(self, text: str) -> bool:
        """Whether that text is one token."""
        return self.token(text) is not None

    def token(self, text: str) -> int | None:
        """The id of the token of that text, if it is one."""
        found: int | None = self._tokenizer.token_to_id(text)
        return found

    def decode(self, tokens: list[int]) -> str:
        """Text of ids, special tokens left out."""
        return guarded(lambda: str(self._tokenizer.decode(tokens)))
