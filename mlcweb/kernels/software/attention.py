"""Attention over the paged KV cache on a CPU: each of four lanes has every fourth word of a head.

A row is a (query, head) pair; the rows of a thread share a KV head, and so the loads of keys and values. Four tokens
are scored one after the other, each score summed over the quad; then a lane keeps one token's, so that a vector holds
four tokens for the exponential, which is expensive.
"""

from dataclasses import dataclass

from tvm import tirx

from mlcweb.contract.constants import State
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.language.builder import KernelBuilder, call, dynamic, f32, kernel
from mlcweb.kernels.language.expr import Buffer, Expr, Index, T
from mlcweb.kernels.layouts.kv_cache import (
    PAGE_SIZE,
    ROPE_FINE,
    HeadLayout,
    KVCache,
    NewTokens,
    page_of,
    slot_of,
)
from mlcweb.kernels.layouts.storage import Values
from mlcweb.kernels.products.outputs import soft_cap
from mlcweb.kernels.software.quads import QUAD, quad_sum

SPLITS = 4  # of decode's context: with the KV heads, workgroups for all of a few CPUs
_ROWS = 6  # of prefill
_REGISTERS = 128  # values that prefill's queries may take: more is slower than loading keys again
_LARGEST = 512  # values of a lane's queries: SwiftShader compiles a kernel of more for minutes
_MINUS_INFINITY = -1.0e30


def share(layout: HeadLayout) -> int:
    """Query heads of a KV head that a thread takes: all, or a part of them where heads are large."""
    fit = range(layout.group, 0, -1)
    return next(
        n for n in fit if layout.group % n == 0 and (n == 1 or n * layout.head_dim // QUAD <= _LARGEST)
    )


def _kv_head(layout: HeadLayout, heads: Expr) -> Expr:
    """The KV head of the ``heads``-th part of the query heads."""
    parts = layout.group // share(layout)
    return heads if parts == 1 else heads // parts


def appends(layout: HeadLayout) -> bool:
    """Whether ``attend`` appends the new key and value; where it has a part of the heads, they are there before."""
    return layout.appends and share(layout) == layout.group


@dataclass
class _Rows:
    """The rows of a thread: ``queries`` and ``sums`` are ``[rows, head_dim/4]``, of a lane's words 4i + lane."""

    k: KernelBuilder
    layout: HeadLayout
    scoring: Scoring
    count: int
    lane: Buffer

    def __post_init__(self) -> None:
        k, count = self.k, self.count
        self.mine = self.layout.head_dim // QUAD
        self.queries, self.sums = (k.local(count * self.mine, name=name) for name in ("queries", "sums"))
        self.maximum, self.total = k.local(count, name="maximum"), k.local(count, name="total")
        for row in range(count):
            k.store(self.maximum, row, f32(_MINUS_INFINITY))
            k.store(self.total, row, f32(0.0))
            for i in range(self.mine):
                k.store(self.sums, row * self.mine + i, f32(0.0))

    def dims(self) -> list[Expr]:
        """This lane's dimensions."""
        size = self.layout.word
        return [(self.lane[0] + i // size * QUAD) * size + i % size for i in range(self.mine)]

    def attend(
        self,
        kv: KVCache,
        table: Buffer,
        head: Expr,
        begin: Index,
        end: Expr,
        positions: list[Expr],
        ends: list[Expr] | None = None,
    ) -> None:
        """Take the tokens ``[begin, end)``, ``begin`` a multiple of 4; row r is the query at ``positions[r]``, which
        sees those before ``ends[r]`` or, without ends, those up to itself.
        """
        k = self.k
        self.scores, self.dots = k.local(self.count, name="scores"), k.local(self.count, name="dots")
        self.rescale, self.loaded = k.local(1, name="rescale"), k.local(self.layout.word, name="loaded")
        self.page, self.slot = k.local(1, "int32", name="page"), k.local(1, "int32", name="slot")
        with k.loop(T.max(T.ceildiv(end - begin, QUAD), 0)) as quad:
            first = k.let(begin + quad * QUAD, "first")
            k.store(self.page, 0, page_of(table, first))
            self._score(kv, head, first)
            for row in range(self.count):
                self._reduce(row, positions[row], first, ends[row] if ends else None)
            self._add_values(kv, head, first)
        for row in range(self.count):
            quad_sum(k, self.total, row)

    def _score(self, kv: KVCache, head: Expr, first: Expr) -> None:
        """``scores``: of four tokens one after the other; a lane keeps its own token's."""
        k, rows, mine, size = self.k, range(self.count), self.mine, self.layout.word
        with k.loop(QUAD) as c:
            k.store(self.slot, 0, slot_of(first) + c)
            for row in rows:
                k.store(self.dots, row, f32(0.0))
            for i in range(0, mine, size):
                key_word = kv.key_word(self.page[0], head, self.slot[0], i // size, self.lane[0])
                for e, key in enumerate(key_word):
                    k.store(self.loaded, e, key)
                for row in rows:
                    for e in range(size):
                        query = self.queries[row * mine + i + e]
                        k.store(self.dots, row, self.dots[row] + query * self.loaded[e])
            for row in rows:
                quad_sum(k, self.dots, row)
                k.store(self.scores, row, T.Select(self.lane[0] == c, self.dots[row], self.scores[row]))

    def _reduce(self, row: int, position: Expr, first: Expr, end: Expr | None) -> None:
        """Raise a row's maximum, rescale what was summed, and make weights of its scores."""
        k, mine, scores, dots = self.k, self.mine, self.scores, self.dots
        if self.scoring.cap is not None:
            k.store(scores, row, soft_cap(scores[row], self.scoring.cap))
        # one that sees none of its first tokens forgets what it took of them once its maximum rises
        seen = self.scoring.sees(position, first + self.lane[0], end)
        k.store(scores, row, T.Select(seen, scores[row], f32(_MINUS_INFINITY)))
        k.store(dots, row, T.max(self.maximum[row], scores[row]))
        for swap in ("quadSwapX", "quadSwapY"):
            k.store(dots, row, T.max(dots[row], call("float32", swap, dots[row])))
        k.store(self.rescale, 0, T.exp(self.maximum[row] - dots[row]))
        k.store(self.maximum, row, dots[row])
        k.store(scores, row, T.exp(scores[row] - dots[row]))
        k.store(self.total, row, self.total[row] * self.rescale[0] + scores[row])
        for i in range(row * mine, (row + 1) * mine):
            k.store(self.sums, i, self.sums[i] * self.rescale[0])

    def _add_values(self, kv: KVCache, head: Expr, first: Expr) -> None:
        """Add four tokens' values, each by its weight, which its lane has."""
        k, rows, mine, size = self.k, range(self.count), self.mine, self.layout.word
        with k.loop(QUAD) as c:
            k.store(self.slot, 0, slot_of(first) + c)
            for row in rows:
                k.store(self.dots, row, T.Select(self.lane[0] == c, self.scores[row], f32(0.0)))
                quad_sum(k, self.dots, row)
            for i in range(0, mine, size):
                word = self.lane[0] + i // size * QUAD
                for e, value in enumerate(kv.value_word(self.page[0], head, self.slot[0], word)):
                    k.store(self.loaded, e, value)
                for row in rows:
                    for e in range(size):
                        at = row * mine + i + e
                        k.store(self.sums, at, self.sums[at] + self.dots[row] * self.loaded[e])


@kernel
def attend(layout: HeadLayout, context: int, scoring: Scoring, *, shifted: bool = False) -> tirx.PrimFunc:
    """Kernel: partial attention of one new token, with the arguments of ``attention.decode.attend`` and SPLITS of
    this file.
    """
    head_dim, group = layout.head_dim, share(layout)
    k = KernelBuilder("attend")
    scoring.say_window(k)
    new = NewTokens.bind(k, layout, context, written=appends(layout))
    partial = k.output("partial", (layout.heads, SPLITS, head_dim + 2), "float32")

    (heads, split), tid = k.launch([layout.heads // group, SPLITS], QUAD)
    head, first = _kv_head(layout, heads), heads * group
    lane, position = k.local(1, "int32", name="lane"), k.local(1, "int32", name="position")
    k.store(lane, 0, tid)
    k.store(position, 0, new.state[State.POSITION])
    origin = scoring.begin(k, position[0], PAGE_SIZE)
    pages = T.shift_right(position[0] - origin, 4) + 1
    per_split = k.let((pages + SPLITS - 1) // SPLITS * PAGE_SIZE, "share")
    begin = k.let(origin + split * per_split, "begin")
    end = k.let(T.min(begin + per_split, position[0] + 1), "end")

    rows = _Rows(k, layout, scoring, group, lane)
    turned = position
    if shifted:
        turned = k.local(1, "int32", name="turned")
        k.store(turned, 0, position[0] + new.state[State.SHIFT])
    _take_in(rows, new, head, first, position, turned, begin, end)
    rows.attend(new.kv, new.table, head, begin, end, [position[0]] * group)
    for g in range(group):
        for i, dim in enumerate(rows.dims()):
            k.store(partial, [first + g, split, dim], rows.sums[g * rows.mine + i])
        with k.when(tid == 0):
            k.store(partial, [first + g, split, head_dim], rows.maximum[g])
            k.store(partial, [first + g, split, head_dim + 1], rows.total[g])
    return k.finish()


def _take_in(
    rows: _Rows,
    new: NewTokens,
    head: Expr,
    first: Expr,
    position: Buffer,
    turned: Buffer,
    begin: Expr,
    end: Expr,
) -> None:
    """Rotate the queries from head ``first`` on, at the position ``turned``, into registers; the split that has the
    position appends key and value to the KV cache.
    """
    k, layout, lane = rows.k, rows.layout, rows.lane
    head_dim, group, half, size = layout.head_dim, rows.count, rows.mine // 2, layout.word
    angles = [k.local(4, name="turn") for _ in range(size)]
    pairs = [k.local(2, name="pair") for _ in range(size)]
    page, slot = page_of(new.table, position[0]), slot_of(position[0])
    owner = k.let(T.And(begin <= position[0], position[0] < end), "owner") if appends(layout) else None
    scale = rows.scoring.scale_at(position[0])
    if rows.scoring.growth is not None:
        grown = k.local(1, name="grown")
        k.store(grown, 0, scale)
        scale = grown[0]
    for i in range(0, half, size):
        dims = rows.dims()[i : i + size]
        for e, (dim, angle, pair) in enumerate(zip(dims, angles, pairs, strict=True)):
            _rope_angle(k, angle, new.coarse, new.fine, turned[0], dim, head_dim)
            for g in range(group):
                base = (first + g) * head_dim + dim
                _rotate(k, pair, angle, new.qkv[0, base], new.qkv[0, base + head_dim // 2])
                for part in range(2):
                    at = g * rows.mine + i + e + part * half
                    k.store(rows.queries, at, pair[part] * scale)
        if owner is None:
            continue
        # a lane reads back only what it writes here itself, so nobody waits
        with k.when(owner):
            for dim, angle, pair in zip(dims, angles, pairs, strict=True):
                base = (layout.heads + head) * head_dim + dim
                _rotate(k, pair, angle, new.qkv[0, base], new.qkv[0, base + head_dim // 2])
            for part in range(2):
                four = (i + part * half) // size
                new.kv.store_key_word(page, head, slot, four, lane[0], [pair[part] for pair in pairs])
                base = (layout.heads + layout.kv_heads + head) * head_dim + part * (head_dim // 2)
                values = [new.qkv[0, base + dim] for dim in dims]
                new.kv.store_value_word(page, head, slot, four * QUAD + lane[0], values)


def _rope_angle(
    k: KernelBuilder, angle: Buffer, coarse: Buffer, fine: Buffer, position: Expr, dim: Expr, head_dim: int
) -> None:
    """``angle[0]``, ``angle[1]``: cosine and sine of the position's angle for the pair of dimension ``dim``."""
    row, rest = T.shift_right(position, 6), T.bitwise_and(position, ROPE_FINE - 1)
    c1, s1, c2, s2 = (k.local(1, name=name) for name in ("c1", "s1", "c2", "s2"))
    for cell, value in (
        (c1, coarse[row, dim]),
        (s1, coarse[row, dim + head_dim // 2]),
        (c2, fine[rest, dim]),
        (s2, fine[rest, dim + head_dim // 2]),
    ):
        k.store(cell, 0, value)
    k.store(angle, 0, c1[0] * c2[0] - s1[0] * s2[0])
    k.store(angle, 1, s1[0] * c2[0] + c1[0] * s2[0])


def _rotate(k: KernelBuilder, pair: Buffer, angle: Buffer, low: Expr, high: Expr) -> None:
    """``pair``: (low, high), rotated by ``angle``."""
    k.store(angle, 2, low)
    k.store(angle, 3, high)
    k.store(pair, 0, angle[2] * angle[0] - angle[3] * angle[1])
    k.store(pair, 1, angle[3] * angle[0] + angle[2] * angle[1])


@kernel
def merge(layout: HeadLayout, sinks: Values | None = None) -> tirx.PrimFunc:
    """Kernel ``attention[1, H * P]`` from the splits' partial results ``[H, SPLITS, P + 2]``, a quad a head, with the
    arguments of ``attention.decode.merge``.
    """
    head_dim = layout.head_dim
    k = KernelBuilder("merge")
    partial = k.buffer("partial", (layout.heads, SPLITS, head_dim + 2), "float32")
    sink = sinks.bind(k, "sinks") if sinks else None
    out = k.output("attention", (1, layout.heads * head_dim), "float32")
    (head,), tid = k.launch([layout.heads], QUAD)
    tops, weights = k.local(SPLITS, name="tops"), k.local(SPLITS, name="weights")
    top, total = k.local(1, name="top"), k.local(1, name="total")
    for s in range(SPLITS):
        k.store(tops, s, partial[head, s, head_dim])
        k.store(top, 0, tops[s] if s == 0 else T.max(top[0], tops[s]))
    if sink is not None:
        k.store(top, 0, T.max(top[0], sink.one(k, 0, head)))
    k.store(total, 0, f32(0.0) if sink is None else T.exp(sink.one(k, 0, head) - top[0]))
    for s in range(SPLITS):
        k.store(weights, s, T.exp(tops[s] - top[0]))
        k.store(total, 0, total[0] + weights[s] * partial[head, s, head_dim + 1])
    for s in range(SPLITS):
        k.store(weights, s, weights[s] / total[0])
    with k.loop(head_dim // QUAD) as i:
        dim = k.let(i * QUAD + tid, "dim")
        values = [weights[s] * partial[head, s, dim] for s in range(SPLITS)]
        k.store(out, [0, head * head_dim + dim], sum(values[1:], values[0]))
    return k.finish()


def _tokens_for(layout: HeadLayout) -> int:
    """Queries whose heads are a prefill thread's rows."""
    rows = min(_ROWS, _REGISTERS // (layout.head_dim // QUAD))
    return max(1, rows // share(layout))


@kernel
def flash_attention(
    layout: HeadLayout, scoring: Scoring, sinks: Values | None = None, *, to_ends: bool = False
) -> tirx.PrimFunc:
    """Kernel ``attention[n, H * P]``: causal attention of a chunk, with the arguments of
    ``attention.prefill.flash_attention``, or those of ``attention.to_ends.flash_attention_to_ends``.
    """
    head_dim, group, together = layout.head_dim, share(layout), _tokens_for(layout)
    k = KernelBuilder("flash_attention_to_ends" if to_ends else "flash_attention")
    scoring.say_window(k)
    n = dynamic("n")
    queries = k.buffer("queries", (n, layout.heads * head_dim), "float32")
    state = k.buffer("state", (State.WORDS,), "int32")
    table = k.buffer("page_table", (layout.pages,), "int32")
    kv = KVCache(k, layout)
    ends = k.buffer("ends", (n,), "int32") if to_ends else None
    sink = sinks.bind(k, "sinks") if sinks else None
    out = k.output("attention", (n, layout.heads * head_dim), "float32")

    (batch, heads), tid = k.launch([T.ceildiv(n, together), layout.heads // group], QUAD)
    head, first = _kv_head(layout, heads), heads * group
    lane, base = k.local(1, "int32", name="lane"), k.local(1, "int32", name="base")
    k.store(lane, 0, tid)
    k.store(base, 0, state[State.POSITION])
    rows = _Rows(k, layout, scoring, together * group, lane)
    if sink is not None:  # of a row's parts of its sum, lane 0 has the sink's
        for row in range(together * group):
            k.store(rows.maximum, row, sink.one(k, 0, head * group + row % group))
            k.store(rows.total, row, T.Select(tid == 0, f32(1.0), f32(0.0)))
    tokens = [batch * together + t for t in range(together) for _ in range(group)]
    for row, token in enumerate(tokens):
        for i, dim in enumerate(rows.dims()):
            column = (first + row % group) * head_dim + dim
            k.store(rows.queries, row * rows.mine + i, queries[T.min(token, n - 1), column])
    after = T.min(batch * together + together, n)
    end = k.let(base[0] + after if ends is None else ends[after - 1], "end")
    begin = scoring.begin(k, base[0] + batch * together, QUAD)
    own = None
    if ends is not None:
        each = k.local(together, "int32", name="each")
        for t in range(together):
            k.store(each, t, ends[T.min(batch * together + t, n - 1)])
        own = [each[row // group] for row in range(len(tokens))]
    rows.attend(kv, table, head, begin, end, [base[0] + token for token in tokens], own)
    for row, token in enumerate(tokens):
        with k.when(token < n):
            for i, dim in enumerate(rows.dims()):
                column = (first + row % group) * head_dim + dim
                k.store(out, [token, column], rows.sums[row * rows.mine + i] / rows.total[row])
    return k.finish()


def flash_attention_to_ends(
    layout: HeadLayout, scoring: Scoring, sinks: Values | None = None
) -> tirx.PrimFunc:
    """``flash_attention``, each token of which sees those before its end."""
    return flash_attention(layout, scoring, sinks, to_ends=True)
