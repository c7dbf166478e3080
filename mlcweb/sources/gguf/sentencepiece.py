"""Builds SentencePiece BPE with the ``tokenizers`` library, as transformers converts LlamaTokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_SPACE = "▁"


def rank_merges(
    tokens: Sequence[str], scores: npt.NDArray[np.float64], is_normal: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int32]:
    """Merge rules as pairs of ids, best first, ``[merges, 2]``; ``scores`` and ``is_normal`` are ``[tokens]``.

    SentencePiece merges whichever adjacent pair makes the best-scored token; every split of a normal token into
    two tokens is such a pair. Ties fall as in transformers' ``generate_merges``: to the longer left token, then to
    the longer right one, then to the lower id.
    """
    letters = np.frombuffer("".join(tokens).encode("utf-32-le"), "<u4")
    lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
    starts = np.cumsum(lengths) - lengths
    left = _find_parts(letters, starts, lengths, 1)
    right = _find_parts(letters, starts + lengths - 1, lengths, -1)
    owner = np.repeat(np.arange(len(tokens), dtype=np.int32), lengths)
    # The left part ends before a cut, and the right one starts after it, in one token.
    cuts = (left[:-1] >= 0) & (right[1:] >= 0) & (owner[:-1] == owner[1:]) & is_normal[owner[:-1]]
    last = np.flatnonzero(cuts)
    whole = owner[last]
    head = last + 1 - starts[whole]
    order = np.lexsort((head - lengths[whole], -head, -scores[whole]))
    return np.stack([left[last], right[last + 1]], axis=1)[order]


def _find_parts(
    letters: npt.NDArray[np.uint32], first: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], step: int
) -> npt.NDArray[np.int32]:
    """For each of all tokens' letters, the id of the token that its own token's letters up to this one make, or -1.

    A token's letters go from ``first`` by ``step``. All tokens are walked at once, a letter at a time, through the
    tree of their beginnings: no beginning is cut out and hashed, which took three times as long.
    """
    parts = np.full(len(letters), -1, np.int32)
    ids = np.flatnonzero(lengths > 0)
    node = np.zeros(len(ids), np.int64)
    depth = 0
    while len(ids):
        at = first[ids] + step * depth
        depth += 1
        nodes, node = np.unique(node << 21 | letters[at], return_inverse=True)  # a letter has 21 bits
        ends = np.full(len(nodes), -1, np.int32)
        last = lengths[ids] == depth
        ends[node[last]] = ids[last]
        parts[at] = ends[node]
        ids, node = ids[~last], node[~last]
    return parts


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
