"""Runs a model on the host: its ``forward`` with operations in numpy, one token or many at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mlcweb.models import Decoder
from mlcweb.reference.ops import HostOps
from mlcweb.reference.weights import ReferenceWeights

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

# Prompt tokens run together: bounds the score matrix, and spreads a weight's dequantization over this many.
CHUNK = 256


class HostModel:
    """A model and its KV cache of ``capacity`` tokens, float32 throughout; ``context`` is the compiled model's."""

    def __init__(
        self,
        model: Decoder,
        weights: ReferenceWeights,
        capacity: int,
        context: int,
        threads: int | None = None,
    ) -> None:
        """``threads`` is how many share a matrix product; all cores without it."""
        self._model, self._capacity = model, capacity
        self._ops = HostOps(model, weights, capacity, context, threads)
        self._vocab = model.config.vocab_size
        self._shift = 0  # of RoPE's position, after pictures

    @property
    def position(self) -> int:
        """Tokens fed so far."""
        return self._ops.position

    def clear(self) -> None:
        """Forget the context: the next token is the first."""
        self._ops.position = self._shift = 0

    def feed(
        self,
        tokens: Sequence[int],
        images: F32 | None = None,
        axes: I64 | None = None,
        *,
        int8: bool = False,
        int8_head: bool = False,
    ) -> F32:
        """Append tokens to the context; returns the logits after the last, float32 [vocab].

        ``images`` [tokens, D]: the row in the place of each token below 0, which stands for one of a picture. ``axes``
        [tokens, 3]: where they are for RoPE (``contract.pictures``); without it one after the other.
        ``int8``: activations are rounded as prefill in int8 rounds them; ``int8_head``: the head's too, as on the CPU
        tier. Raises ValueError for no tokens, ids outside the vocabulary or more than the capacity.
        """
        self._ops.int8_head = int8_head
        last: F32 = self._feed(tokens, images, axes, int8=int8, every=False)[-1]
        return last

    def feed_each(
        self,
        tokens: Sequence[int],
        images: F32 | None = None,
        axes: I64 | None = None,
        *,
        int8: bool = False,
        int8_head: bool = False,
    ) -> F32:
        """As ``feed``; the logits after each, float32 [tokens, vocab]."""
        self._ops.int8_head = int8_head
        return self._feed(tokens, images, axes, int8=int8, every=True)

    def _feed(
        self, tokens: Sequence[int], images: F32 | None, axes: I64 | None, *, int8: bool, every: bool
    ) -> F32:
        if not tokens or self.position + len(tokens) > self._capacity:
            raise ValueError(f"{len(tokens)} tokens at position {self.position} of {self._capacity}")
        if not all((0 if images is None else -1) <= token < self._vocab for token in tokens):
            raise ValueError(f"a token id outside the vocabulary of {self._vocab}")
        if axes is None:
            axes = np.repeat(np.arange(len(tokens))[:, None] + self.position + self._shift, 3, axis=1)
        self._shift = int(axes.max()) + 1 - self.position - len(tokens)
        self._ops.int8, self._ops.every = int8, every
        logits = []
        start = 0
        while start < len(tokens):
            end = min(start + CHUNK, len(tokens))
            while end < len(tokens) and tokens[end - 1] < 0 and tokens[end] < 0:
                end += 1  # no picture is cut: its tokens may see one another
            self._ops.tokens = tokens[start:end]
            self._ops.images = None if images is None else images[start:end]
            self._ops.axes = axes[start:end]
            logits.append(self._model.forward(self._ops))
            self._ops.position += end - start
            start = end
        return np.concatenate(logits)
