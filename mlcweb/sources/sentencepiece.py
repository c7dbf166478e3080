"""SentencePiece BPE in terms of the ``tokenizers`` library, as transformers converts LlamaTokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SPACE = "▁"


def rank_merges(vocab: Mapping[str, int], scores: Mapping[str, float]) -> list[list[str]]:
    """Merge rules, best first, from the scores of the normal tokens.

    SentencePiece merges whichever adjacent pair makes the best-scored token; every split of a token into
    two tokens is such a pair. Ties fall as in transformers' ``generate_merges``.
    """
    found = []
    for text, score in scores.items():
        splits = [(text[:i], text[i:]) for i in range(1, len(text))]
        pairs = [pair for pair in splits if pair[0] in vocab and pair[1] in vocab]
        pairs.sort(key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))
        found += [(score, left, right) for left, right in pairs]
    found.sort(key=lambda item: (item[0], len(item[1]), len(item[2])), reverse=True)
    return [[left, right] for _, left, right in found]


def sentencepiece_pipeline(add_prefix: bool) -> dict[str, Any]:
    """Normalizer, pre-tokenizer and decoder: spaces are ``▁``, a text starts with one if ``add_prefix``."""
    to_symbol = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    prefix = [{"type": "Prepend", "prepend": _SPACE}] if add_prefix else []
    from_symbol = {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "}
    strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if add_prefix else []
    return {
        "normalizer": {"type": "Sequence", "normalizers": [*prefix, to_symbol]},
        "pre_tokenizer": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [from_symbol, {"type": "ByteFallback"}, {"type": "Fuse"}, *strip],
        },
    }
