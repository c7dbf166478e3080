"""Prefill's matrix product with activations rounded to int8: four multiply-adds an instruction (dot4I8Packed).

Activations get a scale for each 32 values of a row, as weights of 4 and 8 bits have. The sum over a group is exact in
int32, and is multiplied by both scales in float32. llama.cpp's Q8_1 activations are the same idea; here weights' codes
lose their offset when a tile is filled, so no sums of activations are needed.
"""

from collections.abc import Callable
from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.kernels.builder import KernelBuilder, call, dynamic, f32, kernel, lane, load4, ramp4, splat, u32
from mlcweb.kernels.linear import Norm
from mlcweb.kernels.matmul import Finish
from mlcweb.kernels.moe_tile import SlotRows
from mlcweb.kernels.moe_weights import Part
from mlcweb.kernels.outputs import Activation
from mlcweb.kernels.pieces import Piece
from mlcweb.kernels.reduce import reduce_rows
from mlcweb.kernels.storage import GROUP, GroupQuantized, GroupQuantizedReader, Values
from mlcweb.kernels.tail import load_padded
from mlcweb.kernels.tier import Tier

ROWS = _TILE = 64  # rows and columns of a workgroup
_THREADS = 64  # 8 x 8 sums each
_WORDS = GROUP // 4  # words of four int8 in a group


@kernel
def quantize_rows(width: int, tier: Tier, norm: Norm | None = None, *, weight_bits: int = 4) -> tirx.PrimFunc:
    """Kernel: x, RMS-normalized if ``norm``, as int8 ``[n, 8 * groups]`` uint32 and scales ``[n, groups]``.

    Arguments: x ``[n, K]``, [norm weight], codes, scales. scale = max|x| / 127 over 32 values, the last group padded
    with zeros. For weights of 4 bits, of eight values the first word has the even ones and the second the odd ones, as
    masking nibbles gives the weights'; for 8 bits they are in order.
    """
    paired = weight_bits == 4
    groups = -(-width // GROUP)
    k = KernelBuilder("quantize_rows")
    n = dynamic("n")
    x = k.buffer("x", (n, width), "float32")
    weight: Any = norm.weight.bind(k, "norm") if norm else None
    codes = k.buffer("codes", (n, groups * _WORDS), "uint32")
    scales = k.buffer("scales", (n, groups), "float32")
    if norm is None:
        (wg,), tid = k.launch([T.ceildiv(n * groups, _THREADS)], _THREADS)
        item = k.let(wg * _THREADS + tid, "item")
        with k.when(item < n * groups):
            row, group = k.let(item // groups, "row"), k.let(item % groups, "group")
            values = [
                load_padded(lambda at: load4(x, row, at), group * GROUP + i * 4, width, GROUP, offset=i * 4)
                for i in range(8)
            ]
            _quantize_group(k, values, row, group, codes, scales, paired)
        return k.finish()

    (row,), tid = k.launch([n], _THREADS)
    sums = k.local(1, name="sums")
    k.store(sums, 0, f32(0.0))
    with k.loop(T.ceildiv(width // 4 - tid, _THREADS)) as i:
        value = k.let(load4(x, row, (i * _THREADS + tid) * 4), "x4")
        k.store(sums, 0, sums[0] + call("float32", "dot", value, value))
    total = reduce_rows(k, tier, tid, sums, 1, _THREADS)(0)
    factor = k.local(1, name="factor")
    k.store(factor, 0, T.rsqrt(total / float(width) + f32(norm.epsilon)))

    def normed(column: Any) -> Any:
        return load4(x, row, column) * splat(factor[0]) * weight.four(k, column)

    with k.loop(T.ceildiv(groups - tid, _THREADS)) as i:
        group = k.let(i * _THREADS + tid, "group")
        values = []
        for j in range(8):
            column = group * GROUP + j * 4
            values.append(load_padded(normed, column, width, GROUP, offset=j * 4))
        _quantize_group(k, values, row, group, codes, scales, paired)
    return k.finish()


def _quantize_group(
    k: KernelBuilder, values: list[Any], row: Any, group: Any, codes: Any, scales: Any, paired: bool
) -> None:
    kept = k.local(8, "float32x4", name="values")
    top = k.local(1, "float32x4", name="top")
    k.store(top, 0, splat(f32(0.0)))
    for i, value in enumerate(values):
        k.store(kept, i, value)
        k.store(top, 0, call("float32x4", "max", top[0], call("float32x4", "abs", kept[i])))
    largest, factor = k.local(1, name="largest"), k.local(1, name="factor")
    k.store(
        largest, 0, T.max(T.max(lane(top[0], 0), lane(top[0], 1)), T.max(lane(top[0], 2), lane(top[0], 3)))
    )
    k.store(factor, 0, T.Select(largest[0] > f32(0.0), f32(127.0) / largest[0], f32(0.0)))
    k.store(scales, [row, group], largest[0] * f32(1.0 / 127.0))
    rounded = k.local(8, "int32x4", name="rounded")
    for i in range(8):
        k.store(
            rounded, i, call("int32x4", "vec4<i32>", call("float32x4", "round", kept[i] * splat(factor[0])))
        )
    for half in range(2):  # a vector of four words
        words = []
        for pair in range(2):
            low, high = rounded[half * 4 + pair * 2], rounded[half * 4 + pair * 2 + 1]
            if not paired:
                words += [call("uint32", "pack4xI8", four) for four in (low, high)]
                continue
            for first in (0, 1):
                lanes = [lane(low, first), lane(low, first + 2), lane(high, first), lane(high, first + 2)]
                words.append(call("uint32", "pack4xI8", T.Shuffle(lanes, [0, 1, 2, 3])))
        k.store(codes, [row, ramp4(group * _WORDS + half * 4)], T.Shuffle(words, [0, 1, 2, 3]))


@kernel
def matmul_int8(
    weight: GroupQuantized,
    *,
    bias: Values | None = None,
    residual: bool = False,
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
    groups = weight.groups
    if outputs % 4:
        raise ValueError(f"matmul_int8 needs N % 4 == 0, not {weight.rows} x {weight.columns}")
    if weight.group_size != GROUP:
        raise ValueError(f"matmul_int8 needs groups of {GROUP}, not {weight.group_size}")
    many = 2 if groups % 2 == 0 else 1  # groups staged at a time
    k = KernelBuilder("matmul_int8")
    n = dynamic("n")
    x = k.buffer("codes", (n, groups * _WORDS), "uint32")
    x_scales = k.buffer("scales", (n, groups), "float32")
    w = weight.bind(k, "w")
    slots = SlotRows(k, n, experts, ROWS) if experts else None
    b = bias.bind(k, "bias") if bias else None
    r = k.buffer("residual", (n, piece.outputs), "float32") if residual else None
    y = k.buffer("y", (n * experts.choices if experts else n, piece.outputs), "float32")
    finish = Finish(k, y, outputs, activation, gated, b, r, piece)

    step = _TILE // 2 if gated else _TILE
    grid = [T.ceildiv(outputs, step), slots.tiles if slots else T.ceildiv(n, ROWS)]
    (wg_n, wg_m), tid = k.launch(grid, _THREADS)
    expert = slots.begin(k, wg_m, tid, from_pairs=False) if slots else 0
    tx, ty = k.let(tid % 8, "tx"), k.let(tid // 8, "ty")
    row0, column0 = k.let(wg_m * _TILE, "row0"), k.let(wg_n * step, "column0")

    def source(row: Any) -> Any:
        return slots.source(row) if slots else T.min(row0 + row, n - 1)

    stage = _Stage(k, many, source, x, x_scales, w, expert * each, column0, outputs, tid, gated)
    sums = k.local(16, "float32x4", name="sums")
    for i in range(16):
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

    for i in range(8):
        row = ty * 4 + i // 4 * (_TILE // 2) + i % 4
        row = k.let(slots.pair(row), "pair") if slots else row0 + row
        with k.when(row >= 0 if slots else row < n):
            finish.write(row, column0 + tx * 4, _TILE // 2, [sums[i * 2], sums[i * 2 + 1]])
    return k.finish()


def _multiply_group(k: KernelBuilder, stage: "_Stage", g: int, tx: Any, ty: Any, sums: Any) -> None:
    """``sums += scales * (codes of x · codes of w)`` for group g of the tile."""
    exact = k.local(16, "int32x4", name="exact")
    for i in range(16):
        k.store(exact, i, T.Broadcast(tirx.const(0, "int32"), 4))
    with k.loop(_WORDS) as word:
        at = (g * _WORDS + word) * _PITCH
        a = [k.let(load4(stage.a, (at + ty + h * 8) * 4), "a") for h in range(2)]
        b = [k.let(load4(stage.b, (at + tx + h * 8) * 4), "b") for h in range(2)]
        for i in range(8):
            for h in range(2):
                dots = [
                    call("int32", "dot4I8Packed", lane(a[i // 4], i % 4), lane(b[h], j)) for j in range(4)
                ]
                k.store(exact, i * 2 + h, exact[i * 2 + h] + T.Shuffle(dots, [0, 1, 2, 3]))
    quads = _TILE // 4
    row_scales = [k.let(load4(stage.a_scales, (g * quads + ty + h * 8) * 4), "row_scales") for h in range(2)]
    column_scales = [
        k.let(load4(stage.b_scales, (g * quads + tx + h * 8) * 4), "column_scales") for h in range(2)
    ]
    for i in range(8):
        for h in range(2):
            scale = splat(lane(row_scales[i // 4], i % 4)) * column_scales[h]
            k.store(sums, i * 2 + h, sums[i * 2 + h] + T.Cast("float32x4", exact[i * 2 + h]) * scale)


_PITCH = (
    _TILE // 4 + 1
)  # vectors of four rows, and one more, so that stores of one column spread over the banks


class _Stage:
    """The tiles in workgroup memory, transposed: word by word, four rows (or columns) a vector.

    ``source`` says which of x's a row is; ``row0`` is the weight's first row. ``fetch`` loads what a thread brings
    into registers, ``put`` stores it.
    """

    def __init__(
        self,
        k: KernelBuilder,
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
        self.codes = many * w.words_per_group  # words of each column
        quads, size = _TILE // 4, many * _WORDS * _PITCH * 4
        self.a, self.b = k.shared(size, "uint32", name="a_tile"), k.shared(size, "uint32", name="b_tile")
        self.a_scales = k.shared(many * _TILE, name="a_scales")
        self.b_scales = k.shared(many * _TILE, name="b_scales")
        # x: a vector of four words of each of four rows; w: a word of codes of each of four columns
        self.x_parts = many * _WORDS // 4
        self.x_items, self.w_items = quads * self.x_parts, quads * self.codes
        self.x_words = k.local(-(-self.x_items // _THREADS) * 4, "uint32x4", name="x_words")
        self.w_words = k.local(-(-self.w_items // _THREADS) * 4, "uint32", name="w_words")
        self.fetched_scales = k.local(4, name="fetched_scales")

        def column(quad: Any, i: int) -> Any:
            if not gated:
                return row0 + T.min(column0 + quad * 4 + i, outputs - 1)
            gate = row0 + T.min(column0 + quad % (quads // 2) * 4 + i, outputs - 1)
            return T.Select(quad < quads // 2, gate, gate + outputs)

        self.row, self.column = source, column

    def fetch(self, group: Any) -> None:
        """Load groups ``group … group + many - 1``."""
        k, tid, quads, codes = self.k, self.tid, _TILE // 4, self.codes
        for at in range(0, self.x_items, _THREADS):
            with k.when(tid + at < self.x_items):
                quad, part = (tid + at) // self.x_parts, (tid + at) % self.x_parts
                for i in range(4):
                    words = load4(self.x, self.row(quad * 4 + i), group * _WORDS + part * 4)
                    k.store(self.x_words, at // _THREADS * 4 + i, words)
        for at in range(0, self.w_items, _THREADS):
            with k.when(tid + at < self.w_items):
                quad, word = (tid + at) // codes, (tid + at) % codes
                for i in range(4):
                    value = self.w.codes[self.column(quad, i), group * self.w.words_per_group + word]
                    k.store(self.w_words, at // _THREADS * 4 + i, value)
        quad, g = tid % quads, tid // quads % self.many
        with k.when(tid < quads * self.many):
            for i in range(4):
                k.store(self.fetched_scales, i, self.x_scales[self.row(quad * 4 + i), group + g])
        with k.when(tid >= quads * 2), k.when(tid < quads * (2 + self.many)):
            for i in range(4):
                k.store(self.fetched_scales, i, self.w.scale(k, self.column(quad, i), group + g))

    def put(self) -> None:
        """Store what was loaded."""
        k, tid, quads, codes = self.k, self.tid, _TILE // 4, self.codes
        for at in range(0, self.x_items, _THREADS):
            with k.when(tid + at < self.x_items):
                quad, part = (tid + at) // self.x_parts, (tid + at) % self.x_parts
                rows = [self.x_words[at // _THREADS * 4 + i] for i in range(4)]
                for c in range(4):
                    across = T.Shuffle([lane(row, c) for row in rows], [0, 1, 2, 3])
                    k.store(self.a, ramp4(((part * 4 + c) * _PITCH + quad) * 4), across)
        for at in range(0, self.w_items, _THREADS):
            with k.when(tid + at < self.w_items):
                quad, word = (tid + at) // codes, (tid + at) % codes
                words = [self.w_words[at // _THREADS * 4 + i] for i in range(4)]
                word4 = k.let(T.Shuffle(words, [0, 1, 2, 3]), "word4")
                signed = _signed4(word4) if self.w.bits == 4 else [_signed8(word4)]
                for i, value in enumerate(signed):
                    k.store(self.b, ramp4(((word * len(signed) + i) * _PITCH + quad) * 4), value)
        scales = T.Shuffle([self.fetched_scales[i] for i in range(4)], [0, 1, 2, 3])
        at = (tid % quads + tid // quads % self.many * quads) * 4
        with k.when(tid < quads * self.many):
            k.store(self.a_scales, ramp4(at), scales)
        with k.when(tid >= quads * 2), k.when(tid < quads * (2 + self.many)):
            k.store(self.b_scales, ramp4(at), scales)


def _signed4(words: Any) -> list[Any]:
    """Two uint32x4 of four int8, code - 7, of the low and of the high nibbles of each byte."""
    return [_less_7(words), _less_7(T.shift_right(words, splat(u32(4))))]


def _less_7(words: Any) -> Any:
    """Four int8, code - 7, of the four low nibbles of each byte of a uint32x4; the high bit keeps borrows apart."""
    low = T.bitwise_and(words, splat(u32(0x0F0F0F0F)))
    return T.bitwise_xor(
        T.bitwise_or(low, splat(u32(0x80808080))) - splat(u32(0x07070707)), splat(u32(0x80808080))
    )


def _signed8(words: Any) -> Any:
    """Four int8, code - 127, of the four bytes of a uint32x4: a code is at most 254, so nothing is carried."""
    return T.bitwise_xor(words + splat(u32(0x01010101)), splat(u32(0x80808080)))
