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

    def text(self, text: str) -> TokenizedText:
        """A text's tokens. Raises CheckpointError."""
        return self._encoded(text, None)

    def pair(self, query: str, document: str) -> TokenizedText:
        """The tokens of two texts as one, whose types tell them apart. Raises CheckpointError."""
        return self._encoded(query, document)

    def _encoded(self, text: str, second: str | None) -> TokenizedText:
        encoding = guarded(lambda: self._tokenizer.encode(text, second))
        return TokenizedText(list(encoding.ids), list(encoding.type_ids))
