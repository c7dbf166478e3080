"""Defines a predictor, which gives a model's logits after each token of a text; the host reference is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mlcweb.models import Decoder
from mlcweb.reference import HostModel, ReferenceWeights

F32 = npt.NDArray[np.float32]

# Logits of a chunk: 64 MB of float32.
_CHUNK_LOGITS = 1 << 24


class Predictor(Protocol):
    """A model, fed window by window."""

    @property
    def vocab(self) -> int:
        """Logits of a token."""

    def begin(self, tokens: Sequence[int]) -> None:
        """The next window, of these tokens: the context is empty."""

    def feed(self, tokens: Sequence[int]) -> F32:
        """The logits after each of these, the window's next tokens, float32 [tokens, vocab]."""


class HostPredictor:
    """The host reference over any weights; a KV cache of ``window`` tokens."""

    def __init__(
        self,
        model: Decoder,
        weights: ReferenceWeights,
        window: int,
        context: int,
        threads: int | None = None,
    ) -> None:
        self._host = HostModel(model, weights, window, context, threads)
        self.vocab: int = model.config.vocab_size

    def begin(self, tokens: Sequence[int]) -> None:
        self._host.clear()

    def feed(self, tokens: Sequence[int]) -> F32:
        return self._host.feed_each(tokens)


def chunk_tokens(vocab: int) -> int:
    """Tokens to feed at once: more share a weight's reading, and each has ``vocab`` logits."""
    return max(16, min(256, _CHUNK_LOGITS // vocab))
