"""Attention within each of several texts side by side: prefill's tiles, with keys and values of the same product."""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

from mlcweb.kernels.attention.prefill import MINUS_INFINITY, ROWS, TOKENS, AttentionTile
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.language.builder import KernelBuilder, bits, f32, kernel, lane, load4, splat, u32
from mlcweb.kernels.language.expr import Buffer, Expr, Index, T
from mlcweb.kernels.layouts.kv_cache import HeadLayout, slot_of
from mlcweb.kernels.texts.place import Places


@kernel
def attend_texts(layout: HeadLayout, scoring: Scoring) -> tirx.PrimFunc:
    """Kernel ``attention[n, H * P]``: softmax(scale q kᵀ) v, each token within its text and what scoring lets it see.

    Arguments: qkv ``[n, (H + 2 J) * P]``, places, attention. As ``flash_attention``; a workgroup walks from the first
    token that its first row sees to the last that its last row sees, which may be in another text.
    """
    k = KernelBuilder("attend_texts")
    tile = _TextTile(k, layout, scoring)
    tile.begin()
    with k.loop(T.ceildiv(tile.end - tile.first, TOKENS)) as token_tile:
        start = k.let(tile.first + token_tile * TOKENS, "start")
        tile.score(start)
        # some row does not see all of the tile
        with k.when(T.Or(start < tile.last_first, start + TOKENS > tile.first_end)):
            tile.mask(start)
        tile.reduce()
        tile.add_values(start)
    tile.store()
    return k.finish()


@dataclass(frozen=True)
class _Rows:
    """Keys and values where the KV cache has pages: ``page`` is the first token of 16, wherever that is."""

    qkv: Buffer
    layout: HeadLayout
    n: Index

    def key4(self, page: Index, head: Index, slot: Index, quad: Index) -> Expr:
        return self._four(page + slot, self.layout.heads + head, quad)

    def value4(self, page: Index, head: Index, slot: Index, quad: Index) -> Expr:
        return self._four(page + slot, self.layout.heads + self.layout.kv_heads + head, quad)

    def _four(self, token: Index, head: Index, quad: Index) -> Expr:
        return load4(self.qkv, T.min(token, self.n - 1), head * self.layout.head_dim + quad * 4)


class _TextTile(AttentionTile):
    """``AttentionTile`` with the tokens of a chunk for a KV cache, and limits by row."""

    def _bind(self) -> None:
        k, layout = self.k, self.layout
        width = (layout.heads + 2 * layout.kv_heads) * layout.head_dim
        self.queries = k.buffer("qkv", (self.n, width), "float32")
        self.places = Places.bind(k, self.n)
        self.kv = _Rows(self.queries, layout, self.n)

    def _limits(self) -> None:
        k, group = self.k, self.layout.group
        first_row = k.let(self.flat(0) // group, "first_row")
        self.last = k.let(self.flat(ROWS - 1) // group, "last")
        first, first_end = self.places.seen(first_row, self.scoring)
        last_first, end = self.places.seen(self.last, self.scoring)
        self.first, self.end = k.let(first, "first"), k.let(end, "end")
        self.last_first, self.first_end = k.let(last_first, "last_first"), k.let(first_end, "first_end")

    def _page(self, first: Expr) -> Expr:
        return self.k.let(first - slot_of(first), "page")

    def _scaled(self, query: Expr) -> Expr:
        return query * splat(f32(self.scoring.scale))

    def mask(self, start: Expr) -> None:
        """Take away what a row does not see."""
        k, scores = self.k, self.scores
        for i in range(4):
            first, end = self.places.seen(
                k.let(self.flat(self.ty * 4 + i) // self.layout.group, "token"), self.scoring
            )
            first, count = k.let(first, "row_first"), k.let(u32(end - first), "row_count")
            for h in (0, 1):
                key, value = start + h * 32 + self.tx * 4, scores[i * 2 + h]
                # one comparison, in which what is before the first is far away
                seen = [
                    T.Select(bits("uint32", key + t - first) < count, lane(value, t), f32(MINUS_INFINITY))
                    for t in range(4)
                ]
                k.store(scores, i * 2 + h, T.Shuffle(seen, [0, 1, 2, 3]))
