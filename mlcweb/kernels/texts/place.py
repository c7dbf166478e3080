"""Binds ``places``, which says of each token where it is in its text."""

from __future__ import annotations

from dataclasses import dataclass

from mlcweb.contract.constants import Place
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.language.builder import KernelBuilder
from mlcweb.kernels.language.expr import Buffer, Expr, Index, T


@dataclass(frozen=True)
class Places:
    """``places`` int32 ``[n, 4]``: each token's text's first token, its end, the position in it, and its type."""

    buffer: Buffer

    @classmethod
    def bind(cls, k: KernelBuilder, rows: Index) -> Places:
        """Declare it as the kernel's next argument."""
        return cls(k.buffer("places", (rows, Place.WORDS), "int32"))

    def begin(self, token: Index) -> Expr:
        """The first token of its text."""
        return self.buffer[token, Place.BEGIN]

    def end(self, token: Index) -> Expr:
        """The token after its text's last."""
        return self.buffer[token, Place.END]

    def position(self, token: Index) -> Expr:
        """Its place in its text, from 0."""
        return self.buffer[token, Place.POSITION]

    def kind(self, token: Index) -> Expr:
        """Its type: 1 in the second text of a pair, else 0."""
        return self.buffer[token, Place.KIND]

    def seen(self, token: Expr, scoring: Scoring) -> tuple[Expr, Expr]:
        """The first token that a token sees, and that after the last; neither is less for the next token."""
        first, end = self.begin(token), self.end(token)
        if scoring.window is not None:
            first = T.max(first, token - (scoring.window - 1))
        if not scoring.ahead:
            end = T.min(end, token + 1)
        elif scoring.window is not None:
            end = T.min(end, token + scoring.window)
        return first, end
