"""Attention over the KV cache: a head of a token goes through the pages it sees, with a running softmax."""

from __future__ import annotations

import functools
import operator

from tvm import tirx

from mlcweb.contract.constants import State
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.cpu.builder import CpuKernel, repeat, sum_of_lanes, sums_of_lanes
from mlcweb.kernels.cpu.cache import Pages
from mlcweb.kernels.language.builder import dynamic, exp, f32, kernel, lane, load4, ramp4, select
from mlcweb.kernels.language.expr import Buffer, Expr, Index, T
from mlcweb.kernels.layouts.kv_cache import PAGE_SIZE, HeadLayout, KVCache
from mlcweb.kernels.layouts.storage import Values
from mlcweb.kernels.products.outputs import soft_cap
from mlcweb.kernels.texts.rows import Rows

_MINUS_INFINITY = -3.0e38


@kernel
def attend(
    layout: HeadLayout,
    scoring: Scoring,
    sinks: Values | None = None,
    *,
    decode: bool = False,
    to_ends: bool = False,
) -> tirx.PrimFunc:
    """Kernel ``attention[n, H * P]``: causal, of queries that are rotated and scaled; n is 1 in ``decode``.

    Arguments: queries ``[n, H * P]``, state, page_table, kv, [ends i32 ``[n]``], [sinks ``[1, H]``], attention.
    ``to_ends``: a token sees up to before its end in place of up to itself. A token sees at least one of every page
    from its first to its last.
    """
    k, n = CpuKernel("attend"), 1 if decode else dynamic("n")
    width, heads, quads = layout.head_dim, layout.heads, layout.head_dim // 4
    queries = k.buffer("queries", (n, heads * width), "float32")
    state = k.buffer("state", (State.WORDS,), "int32")
    table = k.buffer("page_table", (layout.pages,), "int32")
    scoring.say_window(k)
    kv = KVCache(k, layout, fours=True)
    ends = k.buffer("ends", (n,), "int32") if to_ends else None
    sink = sinks.bind(k, "sinks") if sinks else None
    out = k.output("attention", (n, heads * width), "float32")
    item = k.parallel(n * heads)
    token, head = k.let(item // heads, "token"), k.let(item % heads, "head")
    position = k.let(state[State.POSITION] + token, "position")
    end = k.let(position + 1 if ends is None else ends[token], "end")
    first = k.let(T.max(scoring.first(position), 0), "first")
    softmax = Softmax(k, Pages(k, kv), head // layout.group, out, token, head * width, quads)
    softmax.begin(None if sink is None else sink.one(k, 0, head))
    first_page = k.let(first // PAGE_SIZE, "first_page")
    with k.loop((end + (PAGE_SIZE - 1)) // PAGE_SIZE - first_page) as i:
        index = k.let(first_page + i, "index")
        page = k.let(table[index], "page")
        softmax.add(page, softmax.scores(queries, page, index * PAGE_SIZE, (first, end), scoring.cap))
    softmax.store()
    return k.finish()


class Softmax:
    """The sum of values, weighted by exponentials of scores less the largest so far, which ``out`` holds."""

    def __init__(
        self,
        k: CpuKernel,
        pages: Pages | Rows,
        kv_head: Expr,
        out: Buffer,
        token: Expr,
        column: Expr,
        quads: int,
    ) -> None:
        self.k, self.pages, self.out, self.token, self.quads = k, pages, out, token, quads
        self.kv_head, self.column = k.let(kv_head, "kv_head"), k.let(column, "column")
        self.largest, self.total = k.vector("largest", 1), k.vector("total", 1)

    def _at(self, quad: Index) -> list[Index]:
        return [self.token, ramp4(self.column + quad * 4)]

    def begin(self, sink: Expr | None) -> None:
        """Nothing but the sink's score, which has no value, if there is one."""
        self.largest.set(f32(_MINUS_INFINITY) if sink is None else sink)
        self.total.set(f32(0.0 if sink is None else 1.0))
        with self.k.loop(self.quads) as quad:
            self.k.store(self.out, self._at(quad), repeat(f32(0.0)))

    def scores(
        self,
        queries: Buffer,
        page: Expr,
        begin: Expr,
        seen: tuple[Expr, Expr],
        cap: float | None,
        scale: float | None = None,
    ) -> list[Expr]:
        """Four float32x4: those of the page's tokens, of which the first is at ``begin``; only those from ``seen[0]``
        up to before ``seen[1]`` count.
        """
        k, scores, none = self.k, [], repeat(f32(_MINUS_INFINITY))
        for four in range(0, PAGE_SIZE, 4):
            dots = self._dots(queries, page, four)
            if scale is not None:
                dots = k.let(dots * repeat(f32(scale)), "scaled")
            if cap is not None:
                dots = k.let(soft_cap(dots, cap, 4), "capped")
            place = k.let(T.Ramp(begin + four, 1, 4), "place")
            near = k.let(select(place < repeat(seen[1]), dots, none), "near")
            scores.append(k.let(select(place < repeat(seen[0]), none, near), "scores"))
        return scores

    def _dots(self, queries: Buffer, page: Expr, first: int) -> Expr:
        """float32x4: the query times four of the page's keys."""
        k = self.k
        sums = [k.vector("sums") for _ in range(4)]
        with k.loop(self.quads) as quad:
            query = k.let(load4(queries, self.token, self.column + quad * 4), "query")
            for i, total in enumerate(sums):
                total.add(query * self.pages.key4(page, self.kv_head, first + i, quad))
        return sums_of_lanes(k, [total.value for total in sums])

    def add(self, page: Expr, scores: list[Expr]) -> None:
        """A page's values, of which each four has its scores."""
        k = self.k
        top = k.let(functools.reduce(T.max, scores), "top")
        top = T.max(T.max(lane(top, 0), lane(top, 1)), T.max(lane(top, 2), lane(top, 3)))
        largest = k.let(T.max(self.largest.value, top), "largest")
        rescale = k.let(exp(self.largest.value - largest), "rescale")
        shares = [k.let(exp(four - repeat(largest)), "shares") for four in scores]
        self.total.set(self.total.value * rescale + sum_of_lanes(k, functools.reduce(operator.add, shares)))
        self.largest.set(largest)
        with k.loop(self.quads) as quad:
            value = k.vector("value")
            value.set(load4(self.out, *self._row_and_column(quad)) * repeat(rescale))
            for slot in range(PAGE_SIZE):
                share = repeat(lane(shares[slot // 4], slot % 4))
                value.add(share * self.pages.value4(page, self.kv_head, slot, quad))
            k.store(self.out, self._at(quad), value.value)

    def store(self) -> None:
        """Leave the mean of the values."""
        inverse = repeat(self.k.let(f32(1.0) / self.total.value, "inverse"))
        with self.k.loop(self.quads) as quad:
            self.k.store(self.out, self._at(quad), load4(self.out, *self._row_and_column(quad)) * inverse)

    def _row_and_column(self, quad: Index) -> tuple[Expr, Expr]:
        return self.token, self.column + quad * 4
