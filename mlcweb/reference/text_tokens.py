"""Makes a text's tokens as the engine does: the tokenizer with what it puts around a text, or around a pair."""

from __future__ import annotations

import json
from collections.abc import Mapping

from mlcweb.reference.texts import TokenizedText
from mlcweb.sources.tokenizer_check import guarded, load_tokenizer


class TextTokenizer:
    """Encodes whole texts with ``tokenizer.json``, without the truncation and padding that it may ask for."""

    def __init__(self, tokenizer_files: Mapping[str, bytes]) -> None:
        """Raises CheckpointError when the file cannot be used."""
        definition = json.loads(tokenizer_files["tokenizer.json"])
        definition.update(truncation=None, padding=None)
        self._tokenizer = load_tokenizer(json.dumps(definition).encode())

    def text(self, text: str, *, special: bool = True) -> TokenizedText:
        """A text's tokens, without what the tokenizer puts around it unless ``special``. Raises CheckpointError."""
        return self._encoded(text, None, special)

    def pair(self, query: str, document: str) -> TokenizedText:
        """The tokens of two texts as one, whose types tell them apart. Raises CheckpointError."""
        return self._encoded(query, document, True)

    def single(self, text: str) -> int | None:
        """The id of a token that is just that text; None where there is none."""
        token: int | None = self._tokenizer.token_to_id(text)
        return token

    def __contains__(self, text: str) -> bool:
        """Whether that text is one token."""
        return self.single(text) is not None

    def _encoded(self, text: str, second: str | None, special: bool) -> TokenizedText:
        encoding = guarded(lambda: self._tokenizer.encode(text, second, add_special_tokens=special))
        return TokenizedText(list(encoding.ids), list(encoding.type_ids))
