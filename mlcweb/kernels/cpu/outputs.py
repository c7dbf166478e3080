"""Which rows of a weight a thread multiplies at a time, and what becomes of their sums: what is folded in, and y."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlcweb.kernels.cpu.builder import CpuKernel
from mlcweb.kernels.language.builder import lane
from mlcweb.kernels.language.expr import Buffer, Expr, Index, T
from mlcweb.kernels.layouts.pieces import Piece
from mlcweb.kernels.products.outputs import Folded, soft_cap

ROWS = 4  # of a weight, multiplied at a time
# Four rows' sums, float32x4, for each of some tokens.
Multiply = Callable[[list[Expr], list[Expr]], list[Expr]]


@dataclass(frozen=True)
class Outputs:
    """What a product writes: ``count`` outputs of each token, at ``piece.first`` of y's."""

    k: CpuKernel
    folded: Folded
    count: int
    piece: Piece
    bias: Any
    other: Buffer | None
    y: Buffer

    @classmethod
    def bind(cls, k: CpuKernel, n: Index, rows: int, folded: Folded, piece: Piece | None) -> Outputs:
        """Declare bias and residual, if there are any, and y ``[n, N]`` as the kernel's next arguments."""
        count = folded.outputs(rows)
        piece = piece or Piece(0, count)
        bias = folded.bias.bind(k, "bias") if folded.bias else None
        other = folded.bind_other(k, n, piece)
        return cls(k, folded, count, piece, bias, other, k.output("y", (n, piece.outputs), "float32"))

    @property
    def each(self) -> int:
        """Outputs that four rows make."""
        return min(self.count, ROWS // 2 if self.folded.gated else ROWS)

    @property
    def grid(self) -> int:
        return -(-self.count // self.each)

    def first(self, index: Expr) -> Expr:
        """The first output of a part of the grid; the last part may make some that the one before makes too."""
        return self.k.let(T.min(index * self.each, self.count - self.each), "first")

    def rows(self, first: Expr) -> list[Expr]:
        """The weight's rows for the outputs from ``first`` on, always four: gates, then ups, if it is gated."""
        if self.folded.gated:
            own = [T.min(first + i, self.count - 1) for i in range(2)]
            return [self.k.let(row, "row") for row in (*own, *(row + self.count for row in own))]
        return [self.k.let(T.min(first + i, self.count - 1), "row") for i in range(ROWS)]

    def multiply_all(self, multiply: Multiply, n: Index, first: Expr, count: int) -> None:
        """Make the outputs from ``first`` on of all ``n`` tokens, ``count`` at a time."""
        k, rows = self.k, self.rows(first)
        with k.loop(T.ceildiv(n, count)) as tile:
            # past the last token it is that token again
            tokens = [k.let(T.min(tile * count + t, n - 1), "token") for t in range(count)]
            for token, sums in zip(tokens, multiply(rows, tokens), strict=True):
                self.store(token, first, sums)

    def _bias_places(self, first: Expr) -> list[Expr]:
        """Where the bias has the values of the four rows."""
        at = self.folded.bias_first + self.piece.first
        own = [T.min(first + i, self.count - 1) + at for i in range(2 if self.folded.gated else ROWS)]
        return [*own, *(place + self.piece.outputs for place in own)] if self.folded.gated else own

    def store(self, token: Index, first: Expr, sums: Expr, bias_row: Index = 0) -> None:
        """Store a token's outputs from ``first`` on, of the sums of ``rows(first)``, float32x4."""
        k, folded = self.k, self.folded
        if self.bias is not None:
            biases = [self.bias.one(k, bias_row, place) for place in self._bias_places(first)]
            sums = k.let(sums + T.Shuffle(biases, [0, 1, 2, 3]), "biased")
        if folded.gated:
            gate, up = (k.let(T.Shuffle([sums], order), "half") for order in ([0, 1, 0, 1], [2, 3, 2, 3]))
            value = folded.times_up(k.let(folded.activated(gate, 4), "gate"), up, 4)
        else:
            value = folded.activated(sums, 4)
        if folded.cap is not None:
            value = soft_cap(value, folded.cap, 4)
        at = first + self.piece.first
        other = None
        if self.other is not None:
            columns = [T.min(at + i, self.piece.outputs - 1) for i in range(ROWS)]
            other = T.Shuffle([self.other[token, column] for column in columns], [0, 1, 2, 3])
        value = k.let(folded.join(value, other, 4), "outputs")
        if self.each == ROWS:
            k.store(self.y, [token, T.Ramp(at, 1, ROWS)], value)
            return
        for i in range(self.each):
            k.store(self.y, [token, at + i], lane(value, i))
