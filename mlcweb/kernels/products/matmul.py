"""Prefill's matrix product: register tiles over workgroup-memory tiles, dequantized as they are loaded.

A thread keeps 8 x 8 (or 4 x 8) sums in registers. Both tiles are stored transposed in vectors of four, so that the
inner loop reads four vectors for 64 multiply-adds; a thread's rows and columns lie in fours, half a tile apart, so
that neighbouring threads read neighbouring vectors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.experts.tile import SlotRows
from mlcweb.kernels.experts.weights import Part
from mlcweb.kernels.language.builder import (
    KernelBuilder,
    cast,
    dynamic,
    f32,
    kernel,
    lane,
    load4,
    ramp4,
    splat,
)
from mlcweb.kernels.layouts.pieces import Piece
from mlcweb.kernels.layouts.quantized import GroupQuantizedReader
from mlcweb.kernels.layouts.storage import Reader, Values, ValuesReader, WholeMatrix
from mlcweb.kernels.layouts.tail import load_padded
from mlcweb.kernels.products.outputs import Activation, activate


@dataclass(frozen=True)
class Tile:
    """What a workgroup makes: ``rows`` x ``columns`` outputs, ``depth`` of the inner axis at a time; a thread makes
    ``thread_rows`` x 8 of them.
    """

    rows: int
    columns: int
    depth: int
    thread_rows: int

    @property
    def threads(self) -> int:
        return self.rows * self.columns // (self.thread_rows * 8)


# Wide outputs make workgroups enough for large tiles; narrow ones need small tiles to fill a GPU. Measured on an
# H200: docs/performance.md.
WIDE, NARROW = Tile(64, 64, 16, 8), Tile(32, 64, 32, 4)
_WIDE_OUTPUTS = 4096


def tile_for(rows: int) -> Tile:
    """The tile for a weight of ``rows`` rows."""
    return WIDE if rows >= _WIDE_OUTPUTS else NARROW


@kernel
def matmul(
    weight: WholeMatrix,
    tier: Tier,
    *,
    bias: Values | None = None,
    residual: bool = False,
    times: bool = False,
    bias_first: int = 0,
    activation: Activation | None = None,
    gated: bool = False,
    tile: Tile | None = None,
    experts: Part | None = None,
    from_pairs: bool = False,
    piece: Piece | None = None,
) -> tirx.PrimFunc:
    """Kernel ``y[n, N] = x @ weight.T`` in float32, tiles in float16 on the f16 tiers.

    Arguments: x ``[n, K]``, weight's tensors, [bias], [residual ``[n, N]``], y. ``gated``: ``weight`` is gate over
    up, ``[2N, K]``, and y = activation(gate) * up; half of a tile's columns are gates, the others their ups.

    ``experts``: ``weight`` is stacked by expert; ids i32 ``[n, choices]`` and the slots that ``moe_route.group`` makes
    of them for ``tile`` follow its tensors. y is ``[n * choices, N]``, a row for each pair, of which those of the
    part's experts are written; x is ``[n, K]``, or ``[n * choices, K]`` if ``from_pairs``.
    ``piece``: which of y's N ``weight`` makes.
    """
    each = weight.rows // experts.count if experts else weight.rows
    outputs = each // 2 if gated else each
    piece = piece or Piece(0, outputs)
    if outputs % 4 or weight.columns % 4:
        raise ValueError(f"matmul needs multiples of 4, not {weight.rows} x {weight.columns}")
    tile = tile or tile_for(each)
    dtype = "float16" if tier.f16 else "float32"
    k = KernelBuilder("matmul")
    n = dynamic("n")
    choices = experts.choices if experts else 1
    x = k.buffer("x", (n * choices if from_pairs else n, weight.columns), "float32")
    w = weight.bind(k, "w")
    slots = SlotRows(k, n, experts, tile.rows) if experts else None
    b = bias.bind(k, "bias") if bias else None
    r = k.buffer("residual", (n, piece.outputs), "float32") if residual or times else None
    y = k.buffer("y", (n * choices, piece.outputs), "float32")
    writer = TileWriter(k, y, outputs, activation, gated, b, r, piece, times, bias_first)

    step = tile.columns // 2 if gated else tile.columns
    grid = [T.ceildiv(outputs, step), slots.tiles if slots else T.ceildiv(n, tile.rows)]
    (wg_n, wg_m), tid = k.launch(grid, tile.threads)
    expert = slots.begin(k, wg_m, tid, from_pairs=from_pairs) if slots else 0
    a_tile = k.shared(tile.depth * tile.rows, dtype, name="a_tile")
    b_tile = k.shared(tile.depth * tile.columns, dtype, name="b_tile")
    mine, fours = tile.thread_rows, tile.thread_rows // 4
    sums = k.local(mine * 2, "float32x4", name="sums")
    for i in range(mine * 2):
        k.store(sums, i, splat(f32(0.0)))
    row0, column0 = k.let(wg_m * tile.rows, "row0"), k.let(wg_n * step, "column0")
    across = tile.columns // 8
    tx, ty = k.let(tid % across, "tx"), k.let(tid // across, "ty")

    def source(row: Any) -> Any:
        return slots.source(row) if slots else T.min(row0 + row, n - 1)

    with k.loop(-(-weight.columns // tile.depth)) as block:
        _load_a(k, tile, x, a_tile, source, weight.columns, block, tid, dtype)
        _load_b(k, tile, w, b_tile, expert * each, column0, outputs, weight.columns, block, tid, gated, dtype)
        k.barrier()
        with k.loop(tile.depth) as depth:
            a = [
                k.let(load4(a_tile, depth * tile.rows + ty * 4 + v * tile.rows // 2), "a")
                for v in range(fours)
            ]
            b4 = [
                k.let(load4(b_tile, depth * tile.columns + tx * 4 + h * tile.columns // 2), "b")
                for h in range(2)
            ]
            for i in range(mine):
                for h in range(2):
                    product = cast("float32x4", splat(lane(a[i // 4], i % 4)) * b4[h])
                    k.store(sums, i * 2 + h, sums[i * 2 + h] + product)
        k.barrier()

    for i in range(mine):
        row = ty * 4 + i // 4 * tile.rows // 2 + i % 4
        row = k.let(slots.pair(row), "pair") if slots else row0 + row
        with k.when(row >= 0 if slots else row < n):
            writer.write(row, column0 + tx * 4, tile.columns // 2, [sums[i * 2], sums[i * 2 + 1]])
    return k.finish()


def _items(k: KernelBuilder, tile: Tile, tid: Any, count: int) -> list[Any]:
    """The items of a thread when all of them share ``count``."""
    if count % tile.threads:
        raise ValueError(f"{count} items do not divide among {tile.threads} threads")
    return [k.let(tid + start, "item") for start in range(0, count, tile.threads)]


def _load_a(
    k: KernelBuilder,
    tile: Tile,
    x: Any,
    shared: Any,
    source: Callable[[Any], Any],
    columns: int,
    block: Any,
    tid: Any,
    dtype: str,
) -> None:
    """Item (q, p) is columns 4q… of rows 4p…, stored transposed; ``source`` says which of x's a row is."""

    def load(row: Any, column: Any) -> Any:
        return load_padded(lambda at: load4(x, source(row), at), column, columns, tile.depth)

    quads = tile.depth // 4
    for item in _items(k, tile, tid, tile.rows * tile.depth // 16):
        q, p = k.let(item % quads, "q"), k.let(item // quads, "p")
        rows = [k.let(load(p * 4 + i, block * tile.depth + q * 4), "x4") for i in range(4)]
        for c in range(4):
            column = T.Shuffle([lane(row, c) for row in rows], [0, 1, 2, 3])
            k.store(shared, ramp4((q * 4 + c) * tile.rows + p * 4), cast(f"{dtype}x4", column))


def _load_b(
    k: KernelBuilder,
    tile: Tile,
    w: Reader,
    shared: Any,
    row0: Any,
    column0: Any,
    outputs: int,
    columns: int,
    block: Any,
    tid: Any,
    gated: bool,
    dtype: str,
) -> None:
    """Item (q, d) is depth 4d… of the four weight rows 4q…, dequantized; with a quarter of a word each, half of the
    threads of a shallow tile would have nothing to load. ``row0``: the weight's first row for the tile.
    """
    fours, half = tile.columns // 4, tile.columns // 8
    for item in _items(k, tile, tid, fours * tile.depth // 4):
        q, d = k.let(item % fours, "q"), k.let(item // fours, "d")
        depth = k.let(block * tile.depth + d * 4, "depth")
        base = k.let(column0 + (q % half if gated else q) * 4, "base")
        rows = []
        for i in range(4):
            row = row0 + T.min(base + i, outputs - 1)
            rows.append(k.let(T.Select(q < half, row, row + outputs) if gated else row, "row"))
        at = [(d * 4 + c) * tile.columns + q * 4 for c in range(4)]
        # past the end x is zero, and a weight must only be finite
        stored = w.groups * w.group_size if isinstance(w, GroupQuantizedReader) else columns
        blocks = -(-columns // tile.depth)
        within = depth if blocks * tile.depth <= stored else k.let(T.min(depth, columns - 4), "within")
        if isinstance(w, GroupQuantizedReader):
            for c, value in enumerate(w.across(k, rows, within)):
                k.store(shared, ramp4(at[c]), cast(f"{dtype}x4", value))
        else:
            values = [k.let(w.four(k, row, within), "w4") for row in rows]
            for c in range(4):
                column = T.Shuffle([lane(value, c) for value in values], [0, 1, 2, 3])
                k.store(shared, ramp4(at[c]), cast(f"{dtype}x4", column))


@dataclass(frozen=True)
class TileWriter:
    """Writes a tile's outputs, with what is folded into them."""

    k: KernelBuilder
    y: Any
    outputs: int
    activation: Activation | None
    gated: bool
    bias: ValuesReader | None
    residual: Any
    piece: Piece
    times: bool
    bias_first: int

    def write(self, row: Any, column: Any, apart: Any, sums: list[Any]) -> None:
        """The two fours of a row of sums: columns ``column …`` and those ``apart`` from them, or a gate and its up."""
        if self.gated:
            gate = self._activated(sums[0], column)
            self._store(row, column, lambda: gate * self._biased(sums[1], column + self.piece.outputs))
            return
        for h, value in enumerate(sums):
            at = column + h * apart
            self._store(row, at, partial(self._activated, value, at))

    def _activated(self, value: Any, column: Any) -> Any:
        value = self._biased(value, column)
        if self.activation is None:
            return value
        return activate(self.activation, self.k.let(value, "gate"), lanes=4)

    def _biased(self, value: Any, column: Any) -> Any:
        if self.bias is None:
            return value
        return value + self.bias.four(self.k, 0, column + (self.piece.first + self.bias_first))

    def _store(self, row: Any, column: Any, value: Callable[[], Any]) -> None:
        """``y[row, column:column+4] = value()``, plus the residual's, where there is such a column."""
        with self.k.when(column < self.outputs):
            r, at = self.residual, column + self.piece.first if self.piece.first else column
            other = None if r is None else load4(r, row, at)
            result = value() if other is None else other * value() if self.times else other + value()
            self.k.store(self.y, [row, ramp4(at)], result)
