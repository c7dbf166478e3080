"""Prefill attention is tiled flash attention over the paged KV cache, to which ``rope_append`` has added the chunk.

A workgroup owns 32 rows, a row being a (query, head of the group) pair of one KV head, and walks the context in
tiles of 64 tokens; queries, keys, weights and values pass through workgroup memory, transposed for register tiles.

Of heads of more than 256 dimensions, a workgroup makes a part of the outputs, and so scores more than once: the sums
of all would not fit a thread's registers.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from tvm import tirx

from mlcweb.contract.constants import State
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.language.builder import (
    KernelBuilder,
    call,
    dynamic,
    f32,
    kernel,
    lane,
    load4,
    ramp4,
    splat,
)
from mlcweb.kernels.language.expr import Buffer, Expr, Index, T
from mlcweb.kernels.layouts.kv_cache import (
    PAGE_SIZE,
    HeadLayout,
    KVCache,
    page_of,
    slot_of,
)
from mlcweb.kernels.layouts.storage import Values
from mlcweb.kernels.products.outputs import soft_cap

THREADS = 64
ROWS = 32  # of a workgroup of flash attention; few, so that a short chunk of a small model fills a GPU
TOKENS = 64
_DEPTH = 16  # dimensions staged at a time for the scores
MINUS_INFINITY = -1.0e30
_DIMS = 256  # of a head's outputs, that a workgroup makes at most


@kernel
def flash_attention(layout: HeadLayout, scoring: Scoring, sinks: Values | None = None) -> tirx.PrimFunc:
    """Kernel ``attention[n, H * P]``: causal softmax(q kᵀ) v of a chunk that begins at ``state``'s position.

    Arguments: queries ``[n, H * P]``, scaled already, state, page_table, kv, [sinks ``[1, H]``], attention. A head's
    sink is one more score of its softmax, without a value. FlashAttention's online softmax
    (https://arxiv.org/abs/2205.14135) over register tiles: a thread makes 4 x 8 scores, then 4 rows of its share of
    the dimensions.
    """
    k = KernelBuilder("flash_attention")
    scoring.say_window(k)
    tile = AttentionTile(k, layout, scoring, sinks)
    tile.begin()
    base, last = tile.base, tile.last
    # a page's first token, as four tokens of a tile are to share a page
    begin = scoring.begin(k, base + tile.flat(0) // layout.group, PAGE_SIZE)
    with k.loop(T.ceildiv(tile.end - begin, TOKENS)) as token_tile:
        start = k.let(begin + token_tile * TOKENS, "start")
        tile.score(start)
        ragged = (
            start + TOKENS > base + tile.flat(0) // layout.group + 1
        )  # some row does not see all of the tile
        if scoring.window is not None:
            ragged = T.Or(ragged, base + last - start >= scoring.window)
        with k.when(ragged):
            tile.mask(start)
        tile.reduce()
        tile.add_values(start)
    tile.store()
    return k.finish()


class KeysAndValues(Protocol):
    """Four dimensions of a token's key or value, by its page and its place there."""

    def key4(self, page: Index, head: Index, slot: Index, quad: Index) -> Expr: ...

    def value4(self, page: Index, head: Index, slot: Index, quad: Index) -> Expr: ...


class AttentionTile:
    """32 rows of a KV head's queries over tiles of 64 tokens; the phases of ``flash_attention``, in order."""

    def __init__(
        self, k: KernelBuilder, layout: HeadLayout, scoring: Scoring, sinks: Values | None = None
    ) -> None:
        self.k, self.layout, self.scoring, self.n = k, layout, scoring, dynamic("n")
        self._bind()
        self.sinks = sinks.bind(k, "sinks") if sinks else None
        self.out = k.output("attention", (self.n, layout.heads * layout.head_dim), "float32")
        # a part is whole fours
        quads = layout.head_dim // 4
        self.parts = next(n for n in range(1, quads + 1) if quads % n == 0 and 4 * quads // n <= _DIMS)
        self.dims = layout.head_dim // self.parts  # of the outputs, that this workgroup makes
        # tokens whose values are staged at a time, in 16 KiB
        self.value_tokens = PAGE_SIZE if self.dims <= 128 else PAGE_SIZE // 2

    def _bind(self) -> None:
        """Declare what is read: queries, and keys and values by pages."""
        k, layout = self.k, self.layout
        self.queries = k.buffer("queries", (self.n, layout.heads * layout.head_dim), "float32")
        self.state = k.buffer("state", (State.WORDS,), "int32")
        self.table = k.buffer("page_table", (layout.pages,), "int32")
        self.kv: KeysAndValues = KVCache(k, layout, fours=True)

    def flat(self, row: Index) -> Expr:
        """Which (query, head) of the chunk a row is."""
        return T.min(self.row0 + row, self.n * self.layout.group - 1)

    def _offset(self, flat_row: Expr) -> Expr:
        """The first column of its head."""
        group = self.layout.group
        return (self.head * group + flat_row % group) * self.layout.head_dim

    def begin(self) -> None:
        """The workgroup's rows, its memory, and a thread's registers."""
        k = self.k
        tiles = T.ceildiv(self.n * self.layout.group, ROWS)
        (wg, self.head), self.tid = k.launch([tiles, self.layout.kv_heads * self.parts], THREADS)
        self.first_quad: Index = 0  # of the outputs
        if self.parts > 1:
            self.first_quad = k.let(self.head % self.parts * (self.dims // 4), "first_quad")
            self.head = k.let(self.head // self.parts, "kv_head")
        self.tx, self.ty = k.let(self.tid % 8, "tx"), k.let(self.tid // 8, "ty")
        # the longest first, so that none is left alone at the end
        self.row0 = k.let((tiles - 1 - wg) * ROWS, "row0")
        self._limits()
        self.tile = k.shared(
            max(_DEPTH * (ROWS + TOKENS), self.value_tokens * (ROWS + self.dims)), name="tile"
        )
        self.tops = k.shared(ROWS * 8, name="tops")
        quads = self.dims // 4
        self.vectors = -(-quads // 8)  # of four dimensions, that a thread keeps for each of its rows
        self.maximum, self.total = k.local(4, name="maximum"), k.local(4, name="total")
        self.sums = k.local(4 * self.vectors, "float32x4", name="sums")
        self.scores = k.local(8, "float32x4", name="scores")
        for i in range(4):
            if self.sinks is None:
                k.store(self.maximum, i, f32(MINUS_INFINITY))
                k.store(self.total, i, f32(0.0))
            else:  # of a row's parts of its sum, the first thread's has the sink's
                group = self.layout.group
                of_group = k.let(self.flat(self.ty * 4 + i) % group, "of_group")
                k.store(self.maximum, i, self.sinks.one(k, 0, self.head * group + of_group))
                k.store(self.total, i, T.Select(self.tx == 0, f32(1.0), f32(0.0)))
            for j in range(self.vectors):
                k.store(self.sums, i * self.vectors + j, splat(f32(0.0)))

    def _limits(self) -> None:
        """Which tokens the workgroup's rows see: those before ``end``. ``last`` is its last query."""
        k = self.k
        self.base = k.let(self.state[State.POSITION], "base")
        self.last = k.let(self.flat(ROWS - 1) // self.layout.group, "last")
        self.end = k.let(self.base + self.last + 1, "end")

    def score(self, start: Expr) -> None:
        """``scores``: of the thread's 4 rows with 8 tokens, 16 dimensions at a time."""
        k, scores = self.k, self.scores
        for i in range(8):
            k.store(scores, i, splat(f32(0.0)))
        with k.loop(-(-self.layout.head_dim // _DEPTH)) as step:
            self._stage_queries_and_keys(start, step)
            with k.loop(_DEPTH) as depth:
                q = k.let(load4(self.tile, depth * ROWS + self.ty * 4), "q")
                keys = [
                    k.let(load4(self.tile, _DEPTH * ROWS + depth * TOKENS + h * 32 + self.tx * 4), "key")
                    for h in (0, 1)
                ]
                for i in range(4):
                    for h in (0, 1):
                        at = i * 2 + h
                        k.store(scores, at, scores[at] + splat(lane(q, i)) * keys[h])
        if self.scoring.cap is not None:
            for i in range(8):
                k.store(scores, i, soft_cap(scores[i], self.scoring.cap, lanes=4))

    def _stage_queries_and_keys(self, start: Expr, step: Expr) -> None:
        """``tile``: 16 dimensions of queries ``[16, ROWS]`` and of the tile's keys ``[16, TOKENS]``, transposed."""
        k, tid, tile = self.k, self.tid, self.tile
        group, quads = self.layout.group, _DEPTH // 4
        q, keys = k.local(4, "float32x4", name="q"), k.local(4, "float32x4", name="keys")
        quad, fours = k.let(tid % quads, "quad"), k.let(tid // quads, "fours")
        with k.when(tid < quads * ROWS // 4):
            for i in range(4):
                row = k.let(self.flat(fours * 4 + i), "row")
                of_head, there = self._quad_of_head(step * quads + quad)
                query = load4(self.queries, row // group, self._offset(row) + of_head * 4)
                k.store(q, i, self._scaled(query if there is None else query * there))
        key_quad, token4 = k.let(tid // (TOKENS // 4), "key_quad"), k.let(tid % (TOKENS // 4), "token4")
        first = k.let(start + token4 * 4, "first")  # four tokens of one page
        page, slot = self._page(first), k.let(slot_of(first), "slot")
        for i in range(4):
            of_head, _ = self._quad_of_head(step * quads + key_quad)
            k.store(keys, i, self.kv.key4(page, self.head, slot + i, of_head))
        k.barrier()
        with k.when(tid < quads * ROWS // 4):
            for c in range(4):
                k.store(tile, ramp4((quad * 4 + c) * ROWS + fours * 4), _across(q, c))
        for c in range(4):
            at = _DEPTH * ROWS + (key_quad * 4 + c) * TOKENS + token4 * 4
            k.store(tile, ramp4(at), _across(keys, c))
        k.barrier()

    def _quad_of_head(self, quad: Expr) -> tuple[Index, Expr | None]:
        """Where four of a head's dimensions are, and 1 or, past a head that is no whole steps, 0."""
        quads = self.layout.head_dim // 4
        if self.layout.head_dim % _DEPTH == 0:
            return quad, None
        return T.min(quad, quads - 1), splat(T.Select(quad < quads, f32(1.0), f32(0.0)))

    def _scaled(self, query: Expr) -> Expr:
        """Four of a query's dimensions as they are multiplied: ``rope_append`` has scaled them."""
        return query

    def _page(self, first: Expr) -> Expr:
        return self.k.let(page_of(self.table, T.min(first, self.end - 1)), "page")

    def mask(self, start: Expr) -> None:
        """Take away what a row does not see. One that sees nothing of its first tiles forgets what it took of them
        once its maximum rises.
        """
        k, scores = self.k, self.scores
        for i in range(4):
            limit = k.let(self.base + self.flat(self.ty * 4 + i) // self.layout.group, "limit")
            for h in (0, 1):
                first, value = start + h * 32 + self.tx * 4, scores[i * 2 + h]
                seen = [
                    T.Select(self.scoring.sees(limit, first + t), lane(value, t), f32(MINUS_INFINITY))
                    for t in range(4)
                ]
                k.store(scores, i * 2 + h, T.Shuffle(seen, [0, 1, 2, 3]))

    def reduce(self) -> None:
        """Raise the rows' maxima, rescale what was summed, and make weights of the scores."""
        k, scores, maximum, total = self.k, self.scores, self.maximum, self.total
        for i in range(4):
            top = k.let(call("float32x4", "max", scores[i * 2], scores[i * 2 + 1]), "top")
            largest = T.max(T.max(lane(top, 0), lane(top, 1)), T.max(lane(top, 2), lane(top, 3)))
            k.store(self.tops, (self.ty * 4 + i) * 8 + self.tx, largest)
        k.barrier()
        raised = k.local(1, name="raised")
        for i in range(4):
            k.store(raised, 0, maximum[i])
            for j in range(8):
                k.store(raised, 0, T.max(raised[0], self.tops[(self.ty * 4 + i) * 8 + j]))
            rescale = k.local(1, name="rescale")
            k.store(rescale, 0, T.exp(maximum[i] - raised[0]))
            k.store(maximum, i, raised[0])
            for h in (0, 1):
                k.store(scores, i * 2 + h, T.exp(scores[i * 2 + h] - splat(raised[0])))
            mine = call("float32", "dot", scores[i * 2] + scores[i * 2 + 1], splat(f32(1.0)))
            k.store(total, i, total[i] * rescale[0] + mine)
            for j in range(self.vectors):
                at = i * self.vectors + j
                k.store(self.sums, at, self.sums[at] * splat(rescale[0]))

    def add_values(self, start: Expr) -> None:
        """Add the tile's values by their weights, ``value_tokens`` tokens at a time."""
        k, value_tokens, tile, sums = self.k, self.value_tokens, self.tile, self.sums
        dims, quads = self.dims, self.dims // 4
        with k.loop(T.min(T.ceildiv(self.end - start, value_tokens), TOKENS // value_tokens)) as part:
            self._stage_values(start + part * value_tokens, part)
            with k.loop(value_tokens) as token:
                weight = k.let(load4(tile, token * ROWS + self.ty * 4), "weight")
                for j in range(self.vectors):
                    quad = T.min(self.tx + j * 8, quads - 1)
                    value = k.let(load4(tile, value_tokens * ROWS + token * dims + quad * 4), "value")
                    for i in range(4):
                        at = i * self.vectors + j
                        k.store(sums, at, sums[at] + splat(lane(weight, i)) * value)

    def _stage_values(self, first: Expr, part: Expr) -> None:
        """``tile``: weights of ``value_tokens`` tokens, transposed ``[tokens, ROWS]``, and values ``[tokens, P]``."""
        k, value_tokens, tid, scores = self.k, self.value_tokens, self.tid, self.scores
        quads = self.dims // 4
        tx, ty = tid % 8, tid // 8
        items = value_tokens * quads
        values = k.local(-(-items // THREADS), "float32x4", name="values")
        page, slot = self._page(first), k.let(slot_of(first), "slot")
        for i in range(0, items, THREADS):
            item = T.min(tid + i, items - 1)
            quad = item % quads if self.parts == 1 else self.first_quad + item % quads
            value = self.kv.value4(page, self.head, slot + item // quads, quad)
            k.store(values, i // THREADS, value)
        k.barrier()
        for i in range(0, items, THREADS):
            with _each(k, tid + i, items):
                k.store(self.tile, ramp4(value_tokens * ROWS + (tid + i) * 4), values[i // THREADS])
        # a thread has four tokens of either half of the tile, so a part's are with a few threads, in one half
        lanes, parts = value_tokens // 4, TOKENS // 2 // value_tokens
        with k.when(tx // lanes == part % parts):
            for t in range(4):
                mine = [
                    T.Select(part < parts, lane(scores[i * 2], t), lane(scores[i * 2 + 1], t))
                    for i in range(4)
                ]
                at = (tx % lanes * 4 + t) * ROWS + ty * 4
                k.store(self.tile, ramp4(at), T.Shuffle(mine, [0, 1, 2, 3]))
        k.barrier()

    def store(self) -> None:
        """Divide by the rows' sums, which eight threads have parts of, and store."""
        k, total, group = self.k, self.total, self.layout.group
        k.barrier()  # the last tile's maxima have been read
        for i in range(4):
            k.store(self.tops, (self.ty * 4 + i) * 8 + self.tx, total[i])
        k.barrier()
        for i in range(4):
            k.store(total, i, f32(0.0))
            for j in range(8):
                k.store(total, i, total[i] + self.tops[(self.ty * 4 + i) * 8 + j])
            with k.when(self.row0 + self.ty * 4 + i < self.n * group):
                row = k.let(self.flat(self.ty * 4 + i), "row")
                for j in range(self.vectors):
                    quad = self.tx + j * 8
                    with k.when(quad < self.dims // 4):
                        first = self._offset(row) + self.first_quad * 4
                        index = ramp4(first + quad * 4)
                        value = self.sums[i * self.vectors + j] / splat(total[i])
                        k.store(self.out, [row // group, index], value)


def _each(k: KernelBuilder, item: Expr, items: int) -> AbstractContextManager[None]:
    """A branch for the threads that have an item, and none where all have."""
    return nullcontext() if items % THREADS == 0 else k.when(item < items)


def _across(vectors: Buffer, c: int) -> Expr:
    """Lane c of four vectors."""
    return T.Shuffle([lane(vectors[i], c) for i in range(4)], [0, 1, 2, 3])
