"""Prefill's matrix product with activations rounded to int8: four multiply-adds an instruction (dot4I8Packed).

Activations get a scale for each 32 values of a row. The sum over a group, of activations or of weights if theirs are
smaller, is exact in int32, and is multiplied by both scales in float32. llama.cpp's Q8_1 activations are the same
idea; here weights' codes lose their offset when a tile is filled, so that sums of activations are needed only for
weights with a minimum.
"""

from collections.abc import Callable
from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.kernels.builder import KernelBuilder, call, dynamic, f32, kernel, lane, load4, ramp4, splat, u32
from mlcweb.kernels.matmul import TileWriter
from mlcweb.kernels.moe_tile import SlotRows
from mlcweb.kernels.moe_weights import Part
from mlcweb.kernels.outputs import Activation
from mlcweb.kernels.pieces import Piece
from mlcweb.kernels.quantized import GroupQuantized, GroupQuantizedReader
from mlcweb.kernels.storage import GROUP, Values
from mlcweb.quantize.formats import Format

_WORDS = GROUP // 4  # words of four int8 in a group

# Rows and columns of a workgroup; a thread has 4 x 4 sums. Small tiles fill a GPU where outputs are few; where they
# are many, large ones read x and the weight half as often. Measured on an H200: docs/performance.md.
_NARROW, _WIDE = 32, 64
_WIDE_OUTPUTS = 4096
ROWS = _WIDE  # with experts


@kernel
def matmul_int8(
    weight: GroupQuantized,
    *,
    bias: Values | None = None,
    residual: bool = False,
    times: bool = False,
    bias_first: int = 0,
    activation: Activation | None = None,
    gated: bool = False,
    experts: Part | None = None,
    piece: Piece | None = None,
) -> tirx.PrimFunc:
    """Kernel ``y[n, N] = x @ weight.T`` in float32, x as ``quantize_rows`` leaves it.

    Arguments: codes ``[n, 8 * groups]``, scales ``[n, groups]``, weight's tensors, [bias], [residual
    ``[n, N]``], y. ``gated``: ``weight`` is gate over up, ``[2N, K]``, and y = activation(gate) * up; half of a tile's
    columns are gates. ``experts``: as for ``matmul``, with a row of x for each token, and slots for tiles of ``ROWS``.
    ``piece``: which of y's N ``weight`` makes.
    """
    each = weight.rows // experts.count if experts else weight.rows
    outputs = each // 2 if gated else each
    piece = piece or Piece(0, outputs)
    groups = -(-weight.columns // GROUP)
    if outputs % 4:
        raise ValueError(f"matmul_int8 needs N % 4 == 0, not {weight.rows} x {weight.columns}")
    if weight.step != GROUP:
        raise ValueError(
            f"matmul_int8 needs groups that {GROUP} divides, or that divide it, not {weight.group_size}"
        )
    many = 2 if groups % 2 == 0 else 1  # groups staged at a time
    k = KernelBuilder("matmul_int8")
    n = dynamic("n")
    x = k.buffer("codes", (n, groups * _WORDS), "uint32")
    x_scales = k.buffer("scales", (n, groups), "float32")
    w = weight.bind(k, "w")
    slots = SlotRows(k, n, experts, ROWS) if experts else None
    b = bias.bind(k, "bias") if bias else None
    r = k.buffer("residual", (n, piece.outputs), "float32") if residual or times else None
    y = k.buffer("y", (n * experts.choices if experts else n, piece.outputs), "float32")
    writer = TileWriter(k, y, outputs, activation, gated, b, r, piece, times, bias_first)

    tile = _WIDE if experts or weight.rows >= _WIDE_OUTPUTS else _NARROW
    quads, step = tile // 4, tile // 2 if gated else tile
    grid = [T.ceildiv(outputs, step), slots.tiles if slots else T.ceildiv(n, tile)]
    (wg_n, wg_m), tid = k.launch(grid, quads * quads)
    expert = slots.begin(k, wg_m, tid, from_pairs=False) if slots else 0
    tx, ty = k.let(tid % quads, "tx"), k.let(tid // quads, "ty")
    row0, column0 = k.let(wg_m * tile, "row0"), k.let(wg_n * step, "column0")

    def source(row: Any) -> Any:
        return slots.source(row) if slots else T.min(row0 + row, n - 1)

    stage = _Stage(k, tile, many, source, x, x_scales, w, expert * each, column0, outputs, tid, gated)
    sums = k.local(4, "float32x4", name="sums")
    for i in range(4):
        k.store(sums, i, splat(f32(0.0)))

    stage.fetch(0)
    with k.loop(groups // many) as block:
        k.barrier()
        stage.put()
        k.barrier()
        with k.when(block + 1 < groups // many):
            stage.fetch((block + 1) * many)  # under way during the arithmetic
        for g in range(many):
            _multiply_group(k, stage, g, tx, ty, sums)

    def write(i: int, values: list[Any], holds: Any = None) -> None:
        """Row i of the thread's, where ``holds``."""
        row = k.let(slots.pair(ty * 4 + i), "pair") if slots else row0 + ty * 4 + i
        exists = row >= 0 if slots else row < n
        with k.when(exists if holds is None else tirx.all(exists, holds)):
            writer.write(row, column0 + tx * 4, 0, values)

    if not gated:
        for i in range(4):
            write(i, [sums[i]])
        return k.finish()

    # A thread's columns are gates or ups: those with gates get the ups, two rows at a time.
    half = quads // 2
    ups = k.shared(2 * quads * half * 4, name="ups")
    for pair in range(0, 4, 2):
        k.barrier()
        with k.when(tx >= half):
            for i in range(2):
                k.store(ups, ramp4(((i * quads + ty) * half + tx - half) * 4), sums[pair + i])
        k.barrier()
        for i in range(2):
            up = load4(ups, ((i * quads + ty) * half + tx) * 4)
            write(pair + i, [sums[pair + i], up], tx < half)
    return k.finish()


def _multiply_group(k: KernelBuilder, stage: "_Stage", g: int, tx: Any, ty: Any, sums: Any) -> None:
    """``sums += scales * (codes of x · codes of w)`` for group g of the tile."""
    exact = k.local(4, "int32x4", name="exact")
    rows = k.local(1, "int32x4", name="rows") if stage.b_minimums is not None else None
    words = _WORDS // stage.parts
    for part in range(stage.parts):
        zero = T.Broadcast(tirx.const(0, "int32"), 4)
        for i in range(4):
            k.store(exact, i, zero)
        if rows is not None:
            k.store(rows, 0, zero)
        with k.loop(words) as word:
            at = (g * _WORDS + part * words + word) * stage.pitch
            a = k.let(load4(stage.a, (at + ty) * 4), "a")
            b = k.let(load4(stage.b, (at + tx) * 4), "b")
            for i in range(4):
                dots = [call("int32", "dot4I8Packed", lane(a, i), lane(b, j)) for j in range(4)]
                k.store(exact, i, exact[i] + T.Shuffle(dots, [0, 1, 2, 3]))
            if rows is not None:
                of_rows = [call("int32", "dot4I8Packed", lane(a, i), u32(0x01010101)) for i in range(4)]
                k.store(rows, 0, rows[0] + T.Shuffle(of_rows, [0, 1, 2, 3]))
        row_scales = k.let(load4(stage.a_scales, (g * stage.quads + ty) * 4), "row_scales")
        at = ((g * stage.parts + part) * stage.quads + tx) * 4
        column_scales = k.let(load4(stage.b_scales, at), "column_scales")
        for i in range(4):
            scale = splat(lane(row_scales, i)) * column_scales
            k.store(sums, i, sums[i] + T.Cast("float32x4", exact[i]) * scale)
        if rows is not None:
            minimums = k.let(load4(stage.b_minimums, at), "minimums")
            total = k.let(T.Cast("float32x4", rows[0]) * row_scales, "row_sums")
            for i in range(4):
                k.store(sums, i, sums[i] + splat(lane(total, i)) * minimums)


class _Stage:
    """The tiles in workgroup memory, transposed: word by word, four rows (or columns) a vector.

    ``source`` says which of x's a row is; ``row0`` is the weight's first row. ``fetch`` loads what a thread brings
    into registers, ``put`` stores it.
    """

    def __init__(
        self,
        k: KernelBuilder,
        tile: int,
        many: int,
        source: Callable[[Any], Any],
        x: Any,
        x_scales: Any,
        w: GroupQuantizedReader,
        row0: Any,
        column0: Any,
        outputs: int,
        tid: Any,
        gated: bool,
    ) -> None:
        self.k, self.many, self.x, self.x_scales, self.w, self.tid = k, many, x, x_scales, w, tid
        form = w.form
        self.direct = takes_codes(form)
        self.words = form.planes[0] if self.direct else _WORDS  # of a group, as they are fetched
        self.codes = many * self.words  # words of each column
        self.parts = max(GROUP // form.group, 1)  # groups of weights in one of activations
        self.quads = quads = tile // 4
        self.pitch = (
            quads + 1
        )  # vectors of four rows, and one more: stores of one column spread over the banks
        self.threads = quads * quads
        size = many * _WORDS * self.pitch * 4
        self.a, self.b = k.shared(size, "uint32", name="a_tile"), k.shared(size, "uint32", name="b_tile")
        self.a_scales = k.shared(many * tile, name="a_scales")
        self.b_scales = k.shared(many * tile * self.parts, name="b_scales")
        self.b_minimums = k.shared(many * tile * self.parts, name="b_minimums") if form.minimum else None
        # x: a vector of four words of each of four rows; w: a word of codes of each of four columns
        self.x_parts = many * _WORDS // 4
        self.x_items, self.w_items = quads * self.x_parts, quads * self.codes
        self.x_words = k.local(-(-self.x_items // self.threads) * 4, "uint32x4", name="x_words")
        self.w_words = k.local(-(-self.w_items // self.threads) * 4, "uint32", name="w_words")
        self.fetched_scales = k.local(4 * self.parts, name="fetched_scales")
        self.fetched_minimums = k.local(4 * self.parts, name="fetched_minimums") if form.minimum else None

        # the last threads, which bring the fewest codes
        last = self.threads - quads * many
        self.fetches_x_scales = tirx.all(tid >= last - quads * many, tid < last)
        self.fetches_w_scales = tid >= last

        def column(quad: Any, i: int) -> Any:
            if not gated:
                return row0 + T.min(column0 + quad * 4 + i, outputs - 1)
            gate = row0 + T.min(column0 + quad % (quads // 2) * 4 + i, outputs - 1)
            return T.Select(quad < quads // 2, gate, gate + outputs)

        self.row, self.column = source, column

    def fetch(self, group: Any) -> None:
        """Load groups ``group … group + many - 1``."""
        k, tid, quads, codes = self.k, self.tid, self.quads, self.codes
        for at in range(0, self.x_items, self.threads):
            with k.when(tid + at < self.x_items):
                quad, part = (tid + at) // self.x_parts, (tid + at) % self.x_parts
                for i in range(4):
                    words = load4(self.x, self.row(quad * 4 + i), group * _WORDS + part * 4)
                    k.store(self.x_words, at // self.threads * 4 + i, words)
        for at in range(0, self.w_items, self.threads):
            with k.when(tid + at < self.w_items):
                quad, word = (tid + at) // codes, (tid + at) % codes
                first = at // self.threads * 4
                if self.direct:
                    for i in range(4):
                        value = self.w.codes[self.column(quad, i), group * self.words + word]
                        k.store(self.w_words, first + i, value)
                else:
                    columns = [k.let(self.column(quad, i), "column") for i in range(4)]
                    value = k.let(self.w.int8(k, columns, (group * self.words + word) * 4), "int8")
                    for i in range(4):
                        k.store(self.w_words, first + i, lane(value, i))
        quad, g = tid % quads, tid // quads % self.many
        with k.when(self.fetches_x_scales):
            for i in range(4):
                k.store(self.fetched_scales, i, self.x_scales[self.row(quad * 4 + i), group + g])
        with k.when(self.fetches_w_scales):
            for part in range(self.parts):
                own = group + g if self.parts == 1 else (group + g) * self.parts + part
                own = self.w.group(own * GROUP) if self.w.group_size > GROUP else own
                for i in range(4):
                    scale, minimum = self.w.scales(k, self.column(quad, i), own)
                    k.store(self.fetched_scales, part * 4 + i, scale)
                    if self.fetched_minimums is not None:
                        k.store(self.fetched_minimums, part * 4 + i, minimum)

    def put(self) -> None:
        """Store what was loaded."""
        k, tid, quads, codes = self.k, self.tid, self.quads, self.codes
        for at in range(0, self.x_items, self.threads):
            with k.when(tid + at < self.x_items):
                quad, part = (tid + at) // self.x_parts, (tid + at) % self.x_parts
                rows = [self.x_words[at // self.threads * 4 + i] for i in range(4)]
                for c in range(4):
                    across = T.Shuffle([lane(row, c) for row in rows], [0, 1, 2, 3])
                    k.store(self.a, ramp4(((part * 4 + c) * self.pitch + quad) * 4), across)
        for at in range(0, self.w_items, self.threads):
            with k.when(tid + at < self.w_items):
                quad, word = (tid + at) // codes, (tid + at) % codes
                words = [self.w_words[at // self.threads * 4 + i] for i in range(4)]
                word4 = k.let(T.Shuffle(words, [0, 1, 2, 3]), "word4")
                signed = self._signed(word4)
                for i, value in enumerate(signed):
                    k.store(self.b, ramp4(((word * len(signed) + i) * self.pitch + quad) * 4), value)
        at = (tid % quads + tid // quads % self.many * quads) * 4
        with k.when(self.fetches_x_scales):
            k.store(self.a_scales, ramp4(at), _four(self.fetched_scales, 0))
        with k.when(self.fetches_w_scales):
            for part in range(self.parts):
                if self.parts > 1:
                    at = (tid % quads + (tid // quads % self.many * self.parts + part) * quads) * 4
                k.store(self.b_scales, ramp4(at), _four(self.fetched_scales, part))
                if self.fetched_minimums is not None:
                    k.store(self.b_minimums, ramp4(at), _four(self.fetched_minimums, part))

    def _signed(self, words: Any) -> list[Any]:
        """The int8 of fetched words of four columns, uint32x4: of nibbles two, those of the even codes come first."""
        if not self.direct:
            return [words]
        zero = self.w.zero
        if self.w.bits == 4:
            return [_nibbles_less(words, zero), _nibbles_less(T.shift_right(words, splat(u32(4))), zero)]
        # A code of MLC's is at most 254, so that nothing is carried from one byte to the next.
        more = words + splat(u32((128 - zero) * 0x01010101)) if zero < 128 else words
        return [T.bitwise_xor(more, splat(u32(0x80808080)))]


def takes_codes(form: Format) -> bool:
    """Whether codes become int8 by a few operations on whole words."""
    return form.planes in ((4,), (8,)) and not form.levels


def in_pairs(weight: GroupQuantized) -> bool:
    """Whether x must come as ``quantize_rows`` pairs it."""
    return takes_codes(weight.form) and weight.bits == 4


def _four(registers: Any, part: int) -> Any:
    return T.Shuffle([registers[part * 4 + i] for i in range(4)], [0, 1, 2, 3])


def _nibbles_less(words: Any, zero: int) -> Any:
    """Four int8, code - zero, of the four low nibbles of each byte of a uint32x4; the high bit keeps borrows apart."""
    low = T.bitwise_and(words, splat(u32(0x0F0F0F0F)))
    if zero == 0:
        return low
    return T.bitwise_xor(
        T.bitwise_or(low, splat(u32(0x80808080))) - splat(u32(zero * 0x01010101)), splat(u32(0x80808080))
    )
