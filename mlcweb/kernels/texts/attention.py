"""Attention within each of several texts side by side: prefill's tiles, with keys and values of the same product."""

from __future__ import annotations

from tvm import tirx

from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.attention.to_ends import IntervalTile
from mlcweb.kernels.language.builder import KernelBuilder, f32, kernel, splat
from mlcweb.kernels.language.expr import Expr
from mlcweb.kernels.layouts.kv_cache import HeadLayout, slot_of
from mlcweb.kernels.texts.place import Places
from mlcweb.kernels.texts.rows import Rows


@kernel
def attend_texts(layout: HeadLayout, scoring: Scoring) -> tirx.PrimFunc:
    """Kernel ``attention[n, H * P]``: softmax(scale q kᵀ) v, each token within its text and what scoring lets it see.

    Arguments: qkv ``[n, (H + 2 J) * P]``, places, attention. As ``flash_attention``; a workgroup walks from the first
    token that its first row sees to the last that its last row sees, which may be in another text.
    """
    k = KernelBuilder("attend_texts")
    tile = _TextTile(k, layout, scoring)
    tile.begin()
    tile.walk(tile.first)
    return k.finish()


class _TextTile(IntervalTile):
    """Its tokens are a chunk's, and no KV cache's."""

    def _bind(self) -> None:
        k, layout = self.k, self.layout
        width = (layout.heads + 2 * layout.kv_heads) * layout.head_dim
        self.queries = k.buffer("qkv", (self.n, width), "float32")
        self.places = Places.bind(k, self.n)
        self.kv = Rows(self.queries, layout, self.n)

    def seen(self, token: Expr) -> tuple[Expr, Expr]:
        return self.places.seen(token, self.scoring)

    def _page(self, first: Expr) -> Expr:
        return self.k.let(first - slot_of(first), "page")

    def _scaled(self, query: Expr) -> Expr:
        return query * splat(f32(self.scoring.scale))
