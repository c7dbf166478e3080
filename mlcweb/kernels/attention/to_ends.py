"""Prefill attention in which each row sees the tokens of an interval of its own: as ``flash_attention`` does, with
other limits.

A picture's tokens see one another, those after too: each token of a chunk has an end, up to which it sees.
"""

from __future__ import annotations

from tvm import tirx

from mlcweb.contract.constants import State
from mlcweb.kernels.attention.prefill import MINUS_INFINITY, ROWS, TOKENS, AttentionTile
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.language.builder import KernelBuilder, bits, f32, kernel, lane, u32
from mlcweb.kernels.language.expr import Expr, Index, T
from mlcweb.kernels.layouts.kv_cache import PAGE_SIZE, HeadLayout
from mlcweb.kernels.layouts.storage import Values


class IntervalTile(AttentionTile):
    """``AttentionTile`` with limits by row."""

    def seen(self, token: Expr) -> tuple[Index, Expr]:
        """The first place that a token of the chunk sees, and that after the last; neither is less for the next."""
        raise NotImplementedError

    def _limits(self) -> None:
        k, group = self.k, self.layout.group
        first_row = k.let(self.flat(0) // group, "first_row")
        self.last = k.let(self.flat(ROWS - 1) // group, "last")
        first, first_end = self.seen(first_row)
        last_first, end = self.seen(self.last)
        self.first, self.end = k.let(first, "first"), k.let(end, "end")
        self.last_first, self.first_end = k.let(last_first, "last_first"), k.let(first_end, "first_end")

    def walk(self, begin: Index) -> None:
        """From a place on, up to what the last row sees, which the first may not."""
        k = self.k
        with k.loop(T.ceildiv(self.end - begin, TOKENS)) as token_tile:
            start = k.let(begin + token_tile * TOKENS, "start")
            self.score(start)
            # some row does not see all of the tile
            with k.when(T.Or(start < self.last_first, start + TOKENS > self.first_end)):
                self.mask(start)
            self.reduce()
            self.add_values(start)
        self.store()

    def mask(self, start: Expr) -> None:
        """Take away what a row does not see."""
        k, scores = self.k, self.scores
        for i in range(4):
            first, end = self.seen(k.let(self.flat(self.ty * 4 + i) // self.layout.group, "token"))
            first, count = k.let(first, "row_first"), k.let(u32(end - first), "row_count")
            for h in (0, 1):
                key, value = start + h * 32 + self.tx * 4, scores[i * 2 + h]
                # one comparison, in which what is before the first is far away
                seen = [
                    T.Select(bits("uint32", key + t - first) < count, lane(value, t), f32(MINUS_INFINITY))
                    for t in range(4)
                ]
                k.store(scores, i * 2 + h, T.Shuffle(seen, [0, 1, 2, 3]))


class _EndsTile(IntervalTile):
    """Tokens of the KV cache, up to each row's end."""

    def _bind(self) -> None:
        super()._bind()
        self.ends = self.k.buffer("ends", (self.n,), "int32")

    def _limits(self) -> None:
        self.base = self.k.let(self.state[State.POSITION], "base")
        super()._limits()

    def seen(self, token: Expr) -> tuple[Index, Expr]:
        return self.scoring.first(self.base + token), self.ends[token]


@kernel
def flash_attention_to_ends(
    layout: HeadLayout, scoring: Scoring, sinks: Values | None = None
) -> tirx.PrimFunc:
    """Kernel ``attention[n, H * P]``: softmax(q kᵀ) v of a chunk, each token with those before its end.

    Arguments: queries ``[n, H * P]``, scaled already, state, page_table, kv, ends int32 ``[n]``, [sinks ``[1, H]``],
    attention. Ends are places in the KV cache that the chunk is in; no token's is before the next place, nor after the
    next token's.
    """
    k = KernelBuilder("flash_attention_to_ends")
    scoring.say_window(k)
    tile = _EndsTile(k, layout, scoring, sinks)
    tile.begin()
    # a page's first token, as four tokens of a tile are to share a page
    tile.walk(scoring.begin(k, tile.base + tile.flat(0) // layout.group, PAGE_SIZE))
    return k.finish()
