"""Prefill's matrix product: register tiles over workgroup-memory tiles, which are dequantized as they are loaded.

A thread keeps 8 x 8 (or 4 x 8) sums in registers. Both tiles are stored transposed in vectors of four, so that the
inner loop reads four vectors for 64 multiply-adds; a thread's rows and columns lie in fours, half a tile apart, so
that neighbouring threads read neighbouring vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from tvm import tirx

from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.experts.tile import SlotRows
from mlcweb.kernels.experts.weights import ExpertRange
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
from mlcweb.kernels.language.expr import Buffer, Expr, Index, T
from mlcweb.kernels.layouts.pieces import Piece
from mlcweb.kernels.layouts.quantized import GroupQuantizedReader
from mlcweb.kernels.layouts.storage import Reader, ValuesReader, WholeMatrix
from mlcweb.kernels.layouts.tail import load_padded
from mlcweb.kernels.products.outputs import NOTHING, Folded


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
# H200: docs/performance-notebook.md.
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
    folded: Folded = NOTHING,
    tile: Tile | None = None,
    experts: ExpertRange | None = None,
    from_pairs: bool = False,
    piece: Piece | None = None,
) -> tirx.PrimFunc:
    """Kernel ``y[n, N] = x @ weight.T`` in float32, tiles in float16 on the f16 tiers.

    Arguments: x ``[n, K]``, w, what ``folded`` has of bias and residual ``[n, N]``, y. Of gate over up, half of a
    tile's columns are gates, the others their ups. ``piece``: which of y's N ``weight`` makes.

    ``experts``: ``weight`` is stacked by expert; ids i32 ``[n, X]`` and the slots that ``route.group`` makes of them
    for ``tile`` follow w. y is ``[n * X, N]``, a row for each pair, of which those of the range's experts are
    written; x is ``[n, K]``, or ``[n * X, K]`` if ``from_pairs``.
    """
    each = weight.rows // experts.count if experts else weight.rows
    outputs = folded.outputs(each)
    if outputs % 4 or weight.columns % 4:
        raise ValueError(f"matmul needs multiples of 4, not {weight.rows} x {weight.columns}")
    tile = tile or tile_for(each)
    k = KernelBuilder("matmul")
    n = dynamic("n")
    if experts:
        k.reads(experts=experts.total, choices=experts.experts_per_token)
    experts_per_token = experts.experts_per_token if experts else 1
    x = k.buffer("x", (n * experts_per_token if from_pairs else n, weight.columns), "float32")
    w = weight.bind(k, "w")
    slots = SlotRows(k, n, experts, tile.rows) if experts else None
    writer = TileWriter.bind(k, n, experts_per_token, outputs, folded, piece)

    step = tile.columns // 2 if folded.gated else tile.columns
    grid = [T.ceildiv(outputs, step), slots.tiles if slots else T.ceildiv(n, tile.rows)]
    (wg_n, wg_m), tid = k.launch(grid, tile.threads)
    expert = slots.begin(k, wg_m, tid, from_pairs=from_pairs) if slots else 0
    writer = writer.of_expert(expert + experts.first) if experts else writer
    product = _Matmul(k, tile, tid, weight.columns, "float16" if tier.f16 else "float32")
    row0, column0 = k.let(wg_m * tile.rows, "row0"), k.let(wg_n * step, "column0")
    product.place()

    def source(row: Expr) -> Expr:
        return slots.source(row) if slots else T.min(row0 + row, n - 1)

    with k.loop(-(-weight.columns // tile.depth)) as k_tile:
        product.stage_x(x, source, k_tile)
        product.stage_weight(w, _TileRows(expert * each, column0, outputs, folded.gated), k_tile)
        k.barrier()
        product.multiply()
        k.barrier()
    for i in range(tile.thread_rows):
        row = product.row(i)
        row = k.let(slots.pair(row), "pair") if slots else row0 + row
        with k.when(row >= 0 if slots else row < n):
            writer.write(row, column0 + product.tx * 4, tile.columns // 2, product.sums_of(i))
    return k.finish()


@dataclass(frozen=True)
class _TileRows:
    """Which rows of the weight a tile has: ``outputs`` from ``row0``, and of those the tile's from ``column0``."""

    row0: Index
    column0: Expr
    outputs: int
    gated: bool

    def four(self, k: KernelBuilder, tile: Tile, quad: Expr) -> list[Expr]:
        """The four rows of a quad of the tile's columns; of a gated weight's, the latter half are ups."""
        half = tile.columns // 8
        base = k.let(self.column0 + (quad % half if self.gated else quad) * 4, "base")
        rows = []
        for i in range(4):
            row = self.row0 + T.min(base + i, self.outputs - 1)
            rows.append(k.let(T.Select(quad < half, row, row + self.outputs) if self.gated else row, "row"))
        return rows


class _Matmul:
    """The phases of ``matmul`` over one step of the inner axis: staging of both tiles, and their product."""

    def __init__(self, k: KernelBuilder, tile: Tile, tid: Expr, columns: int, dtype: str) -> None:
        self.k, self.tile, self.tid, self.columns, self.dtype = k, tile, tid, columns, dtype
        self.a_tile = k.shared(tile.depth * tile.rows, dtype, name="a_tile")
        self.b_tile = k.shared(tile.depth * tile.columns, dtype, name="b_tile")
        self.sums = k.local(tile.thread_rows * 2, "float32x4", name="sums")
        for i in range(tile.thread_rows * 2):
            k.store(self.sums, i, splat(f32(0.0)))

    def place(self) -> None:
        """The thread's rows and columns."""
        across = self.tile.columns // 8
        self.tx, self.ty = self.k.let(self.tid % across, "tx"), self.k.let(self.tid // across, "ty")

    def row(self, i: int) -> Expr:
        """The tile's row that is the thread's i-th."""
        return self.ty * 4 + i // 4 * self.tile.rows // 2 + i % 4

    def sums_of(self, i: int) -> list[Expr]:
        """The two fours of the thread's i-th row."""
        return [self.sums[i * 2], self.sums[i * 2 + 1]]

    def stage_x(self, x: Buffer, source: Callable[[Expr], Expr], k_tile: Expr) -> None:
        """Item (q, p) is columns 4q… of rows 4p…, stored transposed; ``source`` says which of x's a row is."""
        k, tile = self.k, self.tile

        def load(row: Expr, column: Expr) -> Expr:
            return load_padded(lambda at: load4(x, source(row), at), column, self.columns, tile.depth)

        quads = tile.depth // 4
        for item in self._items(tile.rows * tile.depth // 16):
            q, p = k.let(item % quads, "q"), k.let(item // quads, "p")
            rows = [k.let(load(p * 4 + i, k_tile * tile.depth + q * 4), "x4") for i in range(4)]
            for c in range(4):
                column = T.Shuffle([lane(row, c) for row in rows], [0, 1, 2, 3])
                k.store(self.a_tile, ramp4((q * 4 + c) * tile.rows + p * 4), cast(f"{self.dtype}x4", column))

    def stage_weight(self, w: Reader, rows_of: _TileRows, k_tile: Expr) -> None:
        """Item (q, d) is depth 4d… of the four weight rows 4q…, dequantized; with a quarter of a word each, half of
        the threads of a shallow tile would have nothing to load.
        """
        k, tile = self.k, self.tile
        fours = tile.columns // 4
        for item in self._items(fours * tile.depth // 4):
            q, d = k.let(item % fours, "q"), k.let(item // fours, "d")
            depth = k.let(k_tile * tile.depth + d * 4, "depth")
            rows = rows_of.four(k, tile, q)
            at = [(d * 4 + c) * tile.columns + q * 4 for c in range(4)]
            # past the end x is zero, and a weight must only be finite
            stored = w.groups * w.group_size if isinstance(w, GroupQuantizedReader) else self.columns
            k_tiles = -(-self.columns // tile.depth)
            inside = k_tiles * tile.depth <= stored
            within = depth if inside else k.let(T.min(depth, self.columns - 4), "within")
            if isinstance(w, GroupQuantizedReader):
                for c, value in enumerate(w.across(k, rows, within)):
                    k.store(self.b_tile, ramp4(at[c]), cast(f"{self.dtype}x4", value))
            else:
                values = [k.let(w.four(k, row, within), "w4") for row in rows]
                for c in range(4):
                    column = T.Shuffle([lane(value, c) for value in values], [0, 1, 2, 3])
                    k.store(self.b_tile, ramp4(at[c]), cast(f"{self.dtype}x4", column))

    def multiply(self) -> None:
        """Add the product of the staged tiles to ``sums``."""
        k, tile, sums = self.k, self.tile, self.sums
        with k.loop(tile.depth) as depth:
            a = [
                k.let(load4(self.a_tile, depth * tile.rows + self.ty * 4 + v * tile.rows // 2), "a")
                for v in range(tile.thread_rows // 4)
            ]
            b4 = [
                k.let(load4(self.b_tile, depth * tile.columns + self.tx * 4 + h * tile.columns // 2), "b")
                for h in range(2)
            ]
            for i in range(tile.thread_rows):
                for h in range(2):
                    product = cast("float32x4", splat(lane(a[i // 4], i % 4)) * b4[h])
                    k.store(sums, i * 2 + h, sums[i * 2 + h] + product)

    def _items(self, count: int) -> list[Expr]:
        """The items of a thread when all of them share ``count``."""
        threads = self.tile.threads
        if count % threads:
            raise ValueError(f"{count} items do not divide among {threads} threads")
        return [self.k.let(self.tid + start, "item") for start in range(0, count, threads)]


@dataclass(frozen=True)
class TileWriter:
    """Writes a tile's outputs, with what is folded into them."""

    k: KernelBuilder
    y: Buffer
    outputs: int
    folded: Folded
    piece: Piece
    bias: ValuesReader | None
    residual: Buffer | None
    bias_row: Index = 0

    def of_expert(self, expert: Index) -> TileWriter:
        """The same with an expert's row of the bias."""
        return replace(self, bias_row=expert)

    @classmethod
    def bind(
        cls,
        k: KernelBuilder,
        n: Expr,
        experts_per_token: int,
        outputs: int,
        folded: Folded,
        piece: Piece | None,
    ) -> TileWriter:
        """Declare the kernel's last arguments: bias and residual, if there are any, and y. Raises ValueError."""
        folded.refuse_cap()
        piece = piece or Piece(0, outputs)
        bias = folded.bias.bind(k, "bias") if folded.bias else None
        residual = folded.bind_other(k, n, piece)
        y = k.output("y", (n * experts_per_token, piece.outputs), "float32")
        return cls(k, y, outputs, folded, piece, bias, residual)

    def write(self, row: Expr, column: Expr, apart: int, sums: list[Expr]) -> None:
        """The two fours of a row of sums: columns ``column …`` and those ``apart`` from them, or a gate and its up."""
        if self.folded.gated:
            gate = self._activated(sums[0], column)
            up = partial(self._biased, sums[1], column + self.piece.outputs)
            self._store(row, column, lambda: self.folded.times_up(gate, up(), lanes=4))
            return
        for h, value in enumerate(sums):
            at = column + h * apart
            self._store(row, at, partial(self._activated, value, at))

    def _activated(self, value: Expr, column: Expr) -> Expr:
        value = self._biased(value, column)
        if self.folded.activation is None:
            return value
        return self.folded.activated(self.k.let(value, "gate"), lanes=4)

    def _biased(self, value: Expr, column: Expr) -> Expr:
        if self.bias is None:
            return value
        place = column + (self.piece.first + self.folded.bias_first)
        return value + self.bias.four(self.k, self.bias_row, place)

    def _store(self, row: Expr, column: Expr, value: Callable[[], Expr]) -> None:
        """``y[row, column:column+4] = value()``, with what is joined, where there is such a column."""
        with self.k.when(column < self.outputs):
            at = column + self.piece.first if self.piece.first else column
            other = None if self.residual is None else load4(self.residual, row, at)
            self.k.store(self.y, [row, ramp4(at)], self.folded.join(value(), other, lanes=4))
