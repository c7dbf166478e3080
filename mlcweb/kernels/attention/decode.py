"""Decode attention reads the paged KV cache in splits (flash-decoding): one launch for the splits, one to merge them.

Launch one has a workgroup for each (KV head, split). It rotates the queries and the new key (RoPE); the split that
owns the position appends the new key and value to the KV cache; online softmax runs over the split's tokens in tiles
of 64: a thread has a token for the scores, and a word for the values. Launch two merges the splits.

Where the queries of a KV head's whole group do not fit workgroup memory, a workgroup has a part of them. Then the new
key and value are in the cache before, since no workgroup waits for another; so they are where a layer appends none.
"""

from tvm import tirx

from mlcweb.contract.constants import State
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.language.builder import KernelBuilder, call, f32, kernel, lane, load4, ramp4, splat
from mlcweb.kernels.language.expr import Buffer, Expr, T
from mlcweb.kernels.layouts.block_order import offset
from mlcweb.kernels.layouts.kv_cache import (
    PAGE_SIZE,
    HeadLayout,
    NewTokens,
    page_of,
    rotate4,
    slot_of,
)
from mlcweb.kernels.layouts.storage import Values
from mlcweb.kernels.products.outputs import soft_cap

THREADS = 64
SPLITS = 32
_MINUS_INFINITY = -1.0e30
_LANES = 16  # threads that reduce one head's scores of a tile
_MEMORY = 16384 // 4  # floats of workgroup memory


def share(layout: HeadLayout) -> int:
    """Query heads of a KV head that a workgroup takes: all, or as many of them as fit."""
    each = layout.head_dim + THREADS + _LANES
    return next(n for n in range(layout.group, 0, -1) if layout.group % n == 0 and n * each <= _MEMORY)


def appends(layout: HeadLayout) -> bool:
    """Whether ``attend`` appends the new key and value."""
    return layout.appends and share(layout) == layout.group


@kernel
def attend(layout: HeadLayout, context: int, scoring: Scoring, *, shifted: bool = False) -> tirx.PrimFunc:
    """Kernel: partial attention of one new token. Arguments: qkv ``[1, (H + 2 J) * P]``, RoPE tables, state,
    page_table, kv (read, and written where ``appends``), partial ``[H, SPLITS, P + 2]`` (weighted values, maximum,
    sum). ``shifted``: RoPE's position has a shift.
    """
    k = KernelBuilder("attend")
    scoring.say_window(k)
    new = NewTokens.bind(k, layout, context, written=appends(layout))
    partial = k.output("partial", (layout.heads, SPLITS, layout.head_dim + 2), "float32")

    (heads, split), tid = k.launch([layout.heads // share(layout), SPLITS], THREADS)
    position = k.let(new.state[State.POSITION], "position")
    # whole pages, so that a tile of 64 tokens is four pages
    origin = scoring.begin(k, position, PAGE_SIZE)
    pages = k.let(T.shift_right(position - origin, 4) + 1, "pages")
    per_split = k.let((pages + SPLITS - 1) // SPLITS * PAGE_SIZE, "share")
    begin = k.let(origin + split * per_split, "begin")
    end = k.let(T.min(begin + per_split, position + 1), "end")
    owner = k.let((position - origin) // per_split, "owner") if appends(layout) else None

    part = _Split(k, layout, scoring, new, heads, tid)
    turned = new.turned(k, position) if shifted else position
    part.rotate_queries(position, turned)
    if owner is not None:
        with k.when(split == owner):
            part.append(position, turned)
    k.barrier()
    if owner is not None:
        k.storage_barrier()  # the owning split reads back the key and value that its other threads stored
    part.begin()
    with k.loop(T.max(T.ceildiv(end - begin, THREADS), 0)) as token_tile:
        start = k.let(begin + token_tile * THREADS, "start")
        part.score(start, end, position)
        part.reduce()
        part.add_values(start, end)
    part.store(partial, split)
    return k.finish()


class _Split:
    """A workgroup's part of the context, for ``share`` query heads, the ``heads``-th of all; the phases of ``attend``,
    in order.
    """

    def __init__(
        self, k: KernelBuilder, layout: HeadLayout, scoring: Scoring, new: NewTokens, heads: Expr, tid: Expr
    ) -> None:
        self.k, self.layout, self.scoring, self.new, self.tid = k, layout, scoring, new, tid
        self.group = share(layout)
        self.first = heads * self.group
        parts = layout.group // self.group
        self.head = heads if parts == 1 else k.let(heads // parts, "head")  # of keys and values
        self.queries = k.shared(self.group * layout.head_dim, name="queries")
        self.scores = k.shared(self.group * THREADS, name="scores")
        self.tops = k.shared(self.group * _LANES, name="tops")

    def rotate_queries(self, position: Expr, turned: Expr) -> None:
        """RoPE, at the position ``turned``, on the queries, scaled, into workgroup memory."""
        k, layout = self.k, self.layout
        head_dim, half = layout.head_dim, layout.head_dim // 2
        factor = splat(self.scoring.scale_at(position))
        work = self.group * half // 4
        with k.loop(T.ceildiv(work - self.tid, THREADS)) as i:
            item = k.let(i * THREADS + self.tid, "item")
            g, pair = k.let(item // (half // 4), "g"), k.let((item % (half // 4)) * 4, "pair")
            base = k.let((self.first + g) * head_dim + pair, "base")
            first, second = self._rotated(base, pair, turned)
            k.store(self.queries, ramp4(g * head_dim + pair), first * factor)
            k.store(self.queries, ramp4(g * head_dim + pair + half), second * factor)

    def append(self, position: Expr, turned: Expr) -> None:
        """Write the new token's rotated key and its value to the KV cache."""
        k, layout, kv, head = self.k, self.layout, self.new.kv, self.head
        head_dim, half = layout.head_dim, layout.head_dim // 2
        key_base, value_base = layout.heads * head_dim, (layout.heads + layout.kv_heads) * head_dim
        page, slot = k.let(page_of(self.new.table, position), "page"), k.let(slot_of(position), "slot")
        with k.loop(T.ceildiv(half // 4 - self.tid, THREADS)) as i:
            pair = k.let((i * THREADS + self.tid) * 4, "pair")
            base = k.let(key_base + head * head_dim + pair, "base")
            first, second = self._rotated(base, pair, turned)
            kv.store_key4(page, head, slot, pair // 4, first)
            kv.store_key4(page, head, slot, (pair + half) // 4, second)
        with k.loop(T.ceildiv(head_dim // 4 - self.tid, THREADS)) as i:
            quad = k.let(i * THREADS + self.tid, "quad")
            value = k.let(load4(self.new.qkv, 0, value_base + head * head_dim + quad * 4), "value")
            kv.store_value4(page, head, slot, quad, value)

    def _rotated(self, base: Expr, pair: Expr, turned: Expr) -> tuple[Expr, Expr]:
        """Four pairs of qkv from ``base``, rotated."""
        k, new, half = self.k, self.new, self.layout.head_dim // 2
        low, high = k.let(load4(new.qkv, 0, base), "low"), k.let(load4(new.qkv, 0, base + half), "high")
        return rotate4(k, low, high, new.coarse, new.fine, turned, pair, self.layout.head_dim)

    def begin(self) -> None:
        """Registers: of each head the softmax's maximum and sum, and the sums of the thread's words of the values."""
        k, group = self.k, self.group
        self.words = -(-self.layout.words // THREADS)  # of the values, that a thread keeps
        self.dims = self.words * self.layout.word
        self.maximum, self.total = k.local(group, name="maximum"), k.local(group, name="total")
        self.sums = k.local(group * self.dims, name="sums")
        self.own, self.rescale = k.local(group, name="score"), k.local(group, name="rescale")
        for g in range(group):
            k.store(self.maximum, g, f32(_MINUS_INFINITY))
            k.store(self.total, g, f32(0.0))
            for j in range(self.dims):
                k.store(self.sums, g * self.dims + j, f32(0.0))

    def score(self, start: Expr, end: Expr, position: Expr) -> None:
        """A token a thread: its scores, in registers and in workgroup memory."""
        k, scoring, group = self.k, self.scoring, self.group
        token = k.let(start + self.tid, "token")
        for g in range(group):
            k.store(self.own, g, f32(_MINUS_INFINITY))
        with k.when(T.And(token < end, scoring.sees(position, token)) if scoring.window else token < end):
            self._dot(token)
            if scoring.cap is not None:
                for g in range(group):
                    k.store(self.own, g, soft_cap(self.own[g], scoring.cap))
        for g in range(group):
            k.store(self.scores, g * THREADS + self.tid, self.own[g])
        k.barrier()

    def _dot(self, token: Expr) -> None:
        """``own``: the product of each head's query with the token's key."""
        k, layout, quads = self.k, self.layout, self.layout.head_dim // 4
        page, slot = k.let(page_of(self.new.table, token), "page"), k.let(slot_of(token), "slot")
        for g in range(self.group):
            k.store(self.own, g, f32(0.0))
        unroll = next(u for u in (8, 5, 4, 3, 2, 1) if quads % u == 0)  # loads in flight at once
        with k.loop(quads // unroll) as step:
            base = [k.let(step * unroll + u, "quad") for u in range(unroll)]
            keys = [k.let(self.new.kv.key4(page, self.head, slot, quad), "key") for quad in base]
            for quad, key in zip(base, keys, strict=True):
                for g in range(self.group):
                    dot = call("float32", "dot", load4(self.queries, g * layout.head_dim + quad * 4), key)
                    k.store(self.own, g, self.own[g] + dot)

    def reduce(self) -> None:
        """Raise the maxima, rescale what was summed, and leave the tile's weights in workgroup memory."""
        k, group, maximum, rescale = self.k, self.group, self.maximum, self.rescale
        _tile_tops(k, group, self.tid, self.scores, self.tops)
        k.barrier()
        for g in range(group):
            top = maximum[g]
            for i in range(_LANES):
                top = T.max(top, self.tops[g * _LANES + i])
            new = k.local(1, name="raised")
            k.store(new, 0, top)
            k.store(rescale, g, T.exp(maximum[g] - new[0]))
            k.store(maximum, g, new[0])
            k.store(self.scores, g * THREADS + self.tid, T.exp(self.own[g] - new[0]))
            k.store(self.total, g, self.total[g] * rescale[g])
            for j in range(self.dims):
                k.store(self.sums, g * self.dims + j, self.sums[g * self.dims + j] * rescale[g])
        k.barrier()

    def add_values(self, start: Expr, end: Expr) -> None:
        """Add the tile's values, a page at a time: its loads are in flight together; weights past the end are 0."""
        k, layout, group = self.k, self.layout, self.group
        with k.loop(T.min(T.ceildiv(end - start, PAGE_SIZE), THREADS // PAGE_SIZE)) as i:
            page = k.let(page_of(self.new.table, start + i * PAGE_SIZE), "page")
            weights = [
                [
                    k.let(load4(self.scores, g * THREADS + i * PAGE_SIZE + t), "w")
                    for t in range(0, PAGE_SIZE, 4)
                ]
                for g in range(group)
            ]
            for j in range(self.words):
                word = T.min(self.tid + j * THREADS, layout.words - 1)
                values = [
                    [k.let(v, "value") for v in self.new.kv.value_word(page, self.head, slot, word)]
                    for slot in range(PAGE_SIZE)
                ]
                for g in range(group):
                    self._add_words(g, j, weights[g], values)
            for g in range(group):
                ones = splat(f32(1.0))
                sum4 = sum(weights[g][1:], weights[g][0])
                k.store(self.total, g, self.total[g] + call("float32", "dot", sum4, ones))
        k.barrier()

    def _add_words(self, g: int, j: int, weights: list[Expr], values: list[list[Expr]]) -> None:
        """Add a page's j-th words, by their weights, to head g's sums."""
        for slot, elements in enumerate(values):
            weight = lane(weights[slot // 4], slot % 4)
            for e, value in enumerate(elements):
                at = (g * self.words + j) * self.layout.word + e
                self.k.store(self.sums, at, self.sums[at] + weight * value)

    def store(self, partial: Buffer, split: Expr) -> None:
        """The split's results."""
        k, layout = self.k, self.layout
        for g in range(self.group):
            row = self.first + g
            for j in range(self.words):
                word = self.tid + j * THREADS
                with k.when(word < layout.words):
                    for e in range(layout.word):
                        at = (g * self.words + j) * layout.word + e
                        k.store(partial, [row, split, word * layout.word + e], self.sums[at])
            with k.when(self.tid == 0):
                k.store(partial, [row, split, layout.head_dim], self.maximum[g])
                k.store(partial, [row, split, layout.head_dim + 1], self.total[g])


def _tile_tops(k: KernelBuilder, group: int, tid: Expr, scores: Buffer, tops: Buffer) -> None:
    """``tops[g, i]``: the largest of every sixteenth of head g's scores."""
    for first in range(0, group * _LANES, THREADS):
        item = k.let(tid + first, "item")
        with k.when(item < group * _LANES):
            g, i = item // _LANES, item % _LANES
            top = scores[g * THREADS + i]
            for j in range(1, THREADS // _LANES):
                top = T.max(top, scores[g * THREADS + i + j * _LANES])
            k.store(tops, item, top)


@kernel
def merge(layout: HeadLayout, sinks: Values | None = None) -> tirx.PrimFunc:
    """Kernel ``attention[1, H * P]``, in block order, from the splits' partial results ``[H, SPLITS, P + 2]``.

    Arguments: partial, [sinks ``[1, H]``], attention. A head's sink is one more score of its softmax, without a value.
    """
    head_dim = layout.head_dim
    k = KernelBuilder("merge")
    partial = k.buffer("partial", (layout.heads, SPLITS, head_dim + 2), "float32")
    sink = sinks.bind(k, "sinks") if sinks else None
    out = k.output("attention", (1, layout.heads * head_dim), "float32")
    (head,), tid = k.launch([layout.heads], THREADS)
    top = partial[head, 0, head_dim]
    for s in range(1, SPLITS):
        top = T.max(top, partial[head, s, head_dim])
    if sink is not None:
        top = T.max(top, sink.one(k, 0, head))
    maximum, weights = k.local(1, name="maximum"), k.local(SPLITS, name="weights")
    k.store(maximum, 0, top)
    total = k.local(1, name="total")
    k.store(total, 0, f32(0.0) if sink is None else T.exp(sink.one(k, 0, head) - maximum[0]))
    for s in range(SPLITS):
        k.store(weights, s, T.exp(partial[head, s, head_dim] - maximum[0]))
        k.store(total, 0, total[0] + weights[s] * partial[head, s, head_dim + 1])
    with k.loop(T.ceildiv(head_dim - tid, THREADS)) as i:
        dim = k.let(i * THREADS + tid, "dim")
        parts = [weights[s] * partial[head, s, dim] for s in range(SPLITS)]
        value = sum(parts[1:], parts[0])
        k.store(out, [0, offset(head * head_dim + dim, layout.heads * head_dim)], value / total[0])
    return k.finish()
