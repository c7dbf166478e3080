"""Prefill's matrix product on a GPU's matrix units, by Chromium's experimental subgroup matrices.

x and the dequantized weight are float16, sums float32. TVM has no such types: what loads, multiplies and stores them
is WGSL text, which ``KernelBuilder.wgsl`` puts where TIR has a call; TIR does the rest. The units differ by GPU, so
that an entry with these kernels says what it ``NEEDS``, beyond its tier.
"""

from collections.abc import Callable

from tvm import tirx

from mlcweb.contract.plan import Needs
from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.language.builder import KernelBuilder, bits, call, dynamic, kernel, lane, load4, ramp4
from mlcweb.kernels.language.expr import Buffer, Expr, Index, T
from mlcweb.kernels.layouts.pieces import Piece
from mlcweb.kernels.layouts.quantized import GroupQuantized, GroupQuantizedReader
from mlcweb.kernels.layouts.storage import GROUP
from mlcweb.kernels.products import matmul_matrix_wgsl as wgsl
from mlcweb.kernels.products.matmul import TileWriter
from mlcweb.kernels.products.matmul_matrix_wgsl import Tile
from mlcweb.kernels.products.outputs import NOTHING, Folded
from mlcweb.quantize.formats import Format

_SUBGROUP = 32
_SUBGROUPS = 4  # of a workgroup, two by two
_THREADS = _SUBGROUP * _SUBGROUPS

NEEDS: Needs = {
    "features": ["chromium-experimental-subgroup-matrix", "shader-f16", "subgroups"],
    "limits": {"maxComputeWorkgroupStorageSize": 20480},
    "subgroup_size": _SUBGROUP,
    "subgroup_matrix": {"component": "f16", "result": "f32", "m": wgsl.UNIT, "n": wgsl.UNIT, "k": wgsl.UNIT},
}


def needs_beyond(tier: Tier) -> Needs:
    """What an entry with these kernels needs that its tier does not say already, as the plan has it."""
    return {**NEEDS, "features": [name for name in NEEDS["features"] if name not in tier.features]}


@kernel
def matmul_matrix(
    weight: GroupQuantized,
    *,
    folded: Folded = NOTHING,
    piece: Piece | None = None,
    tile: Tile | None = None,
) -> tirx.PrimFunc:
    """Kernel ``y[n, N] = x @ weight.T`` in float32, x as ``float16_rows`` leaves it.

    Arguments: halves ``[n, 16 * groups]``, w, what ``folded`` has of bias and residual ``[n, N]``, y. Of gate over up,
    half of a subgroup's columns are gates. ``piece``: which of y's N ``weight`` makes.
    """
    outputs = folded.outputs(weight.rows)
    if outputs % 4:
        raise ValueError(f"matmul_matrix needs N % 4 == 0, not {weight.rows} x {weight.columns}")
    if weight.step != GROUP:
        raise ValueError(
            f"matmul_matrix needs groups that {GROUP} divides, or that divide it, not {weight.group_size}"
        )
    tile = tile or _tile(weight)
    k, n = KernelBuilder("matmul_matrix"), dynamic("n")
    width = -(-weight.columns // GROUP) * GROUP
    x = k.buffer("halves", (n, width // 2), "uint32")
    w = weight.bind(k, "w")
    writer = TileWriter.bind(k, n, 1, outputs, folded, piece)

    step = tile.columns // 2 if folded.gated else tile.columns
    (wg_n, wg_m), tid = k.launch([T.ceildiv(outputs, step), T.ceildiv(n, tile.rows)], _THREADS)
    row0, column0 = k.let(wg_m * tile.rows, "row0"), k.let(wg_n * step, "column0")
    stage = _Stage(k, tile, w, tid)

    def row(at: Expr) -> Expr:
        """x's row for a row of the tile."""
        return T.min(row0 + at, n - 1)

    def column(at: Expr) -> Expr:
        """The weight's row for a column of the tile."""
        if not folded.gated:
            return T.min(column0 + at, outputs - 1)
        own = tile.columns // 2  # of a subgroup
        gate = T.min(column0 + at // own * (own // 2) + at % (own // 2), outputs - 1)
        return T.Select(at % own < own // 2, gate, gate + outputs)

    subgroup = k.let(tid // _SUBGROUP, "subgroup")
    k.wgsl(wgsl.declare(tile))
    stage.fetch(x, row, column, 0)
    k_tiles = width // tile.depth
    with k.loop(k_tiles) as k_tile:
        k.barrier()
        stage.put()
        k.barrier()
        with k.when(k_tile + 1 < k_tiles):
            stage.fetch(x, row, column, k_tile + 1)  # under way during the arithmetic
        k.wgsl(wgsl.multiply(tile), subgroup)
    _write(k, tile, stage.tiles, subgroup, tid, writer, row0, column0, n)
    return k.finish(
        directives=wgsl.DIRECTIVES,
        functions=wgsl.dequantize(weight.form) if takes_nibbles(weight.form) else "",
    )


class _Stage:
    """Both tiles in workgroup memory, row by row; ``fetch`` loads what a thread brings, ``put`` stores it."""

    def __init__(self, k: KernelBuilder, tile: Tile, w: GroupQuantizedReader, tid: Expr) -> None:
        self.k, self.tile, self.w, self.tid = k, tile, w, tid
        self.tiles = k.shared((tile.rows + tile.columns) * tile.pitch * 4, "uint32", name="tiles")
        self.x_items = tile.rows * tile.vectors // _THREADS
        self.w_items = w_items = tile.columns * tile.vectors // _THREADS
        self.x_words = k.local(self.x_items, "uint32x4", name="x_words")
        self.w_words, self.w_scales = (
            k.local(w_items, "uint32", name="w_words"),
            k.local(w_items, name="w_scales"),
        )
        self.w_minimums = k.local(w_items, name="w_minimums") if w.form.minimum else None
        direct = takes_nibbles(w.form)
        self.w_halves = None if direct else k.local(w_items, "uint32x4", name="w_halves")

    def fetch(
        self, x: Buffer, row: Callable[[Expr], Expr], column: Callable[[Expr], Expr], k_tile: Index
    ) -> None:
        """Load a step of the inner axis; ``row`` and ``column`` say which rows of x and the weight."""
        k, tile, w = self.k, self.tile, self.w
        for i in range(self.x_items):
            item = self.tid + i * _THREADS
            own = row(item // tile.vectors)
            k.store(self.x_words, i, load4(x, own, (k_tile * tile.vectors + item % tile.vectors) * 4))
        for i in range(self.w_items):
            item = self.tid + i * _THREADS
            own, word = (
                k.let(column(item // tile.vectors), "row"),
                k_tile * tile.vectors + item % tile.vectors,
            )
            if self.w_halves is not None:
                k.store(self.w_halves, i, _halves(k, w, own, word * 8))
                continue
            k.store(self.w_words, i, w.word(own, word))
            scale, minimum = w.scales(k, own, word // w.words_per_group)
            k.store(self.w_scales, i, scale)
            if self.w_minimums is not None and minimum is not None:
                k.store(self.w_minimums, i, minimum)

    def put(self) -> None:
        """Store what was loaded."""
        k, tile = self.k, self.tile
        for i in range(self.x_items):
            item = self.tid + i * _THREADS
            at = item // tile.vectors * tile.pitch + item % tile.vectors
            k.store(self.tiles, ramp4(at * 4), self.x_words[i])
        for i in range(self.w_items):
            item = self.tid + i * _THREADS
            at = (tile.rows + item // tile.vectors) * tile.pitch + item % tile.vectors
            if self.w_halves is not None:
                k.store(self.tiles, ramp4(at * 4), self.w_halves[i])
                continue
            scaled = [self.w_scales[i], *([self.w_minimums[i]] if self.w_minimums is not None else [])]
            k.store(self.tiles, ramp4(at * 4), call("uint32x4", "dequantize", self.w_words[i], *scaled))


def _write(
    k: KernelBuilder,
    tile: Tile,
    tiles: Buffer,
    subgroup: Expr,
    tid: Expr,
    writer: TileWriter,
    row0: Expr,
    column0: Expr,
    n: Expr,
) -> None:
    """Sums pass through workgroup memory, a strip of each subgroup's at a time."""
    own, gated = tile.columns // 2, writer.folded.gated
    quads = own // 8 if gated else own // 4
    member = tid % _SUBGROUP
    for i in range(tile.rows // 2 // wgsl.UNIT):
        k.barrier()
        k.wgsl(wgsl.store(tile, i), subgroup)
        k.barrier()
        with k.loop(wgsl.UNIT * quads // _SUBGROUP) as j:
            item = k.let(member + j * _SUBGROUP, "item")
            strip_row, quad = k.let(item // quads, "strip_row"), k.let(item % quads, "quad")
            row = row0 + subgroup // 2 * (tile.rows // 2) + i * wgsl.UNIT + strip_row
            at = (subgroup * wgsl.UNIT + strip_row) * (own // 4) + quad
            offsets = (0, quads) if gated else (0,)
            with k.when(row < n):
                sums = [
                    k.let(bits("float32x4", load4(tiles, (at + offset) * 4)), "sums") for offset in offsets
                ]
                writer.write(row, column0 + subgroup % 2 * (quads * 4) + quad * 4, 0, sums)


def takes_nibbles(form: Format) -> bool:
    """Whether codes become float16 by a few operations on whole words."""
    return form.nibbles and not form.levels and form.group == GROUP


def _halves(k: KernelBuilder, w: GroupQuantizedReader, row: Expr, column: Expr) -> Expr:
    """uint32x4: eight weights as float16, in the order of ``float16_rows``."""
    low, high = (k.let(w.four(k, row, column + i), "w4") for i in (0, 4))
    words = [
        call("uint32", "pack2x16float", call("float32x2", "vec2<f32>", lane(low, i), lane(high, i)))
        for i in range(4)
    ]
    return T.Shuffle(words, [0, 1, 2, 3])


WIDE = Tile(128, 128, 32)
_WIDE_OUTPUTS = 4096


def _tile(weight: GroupQuantized) -> Tile:
    """Small tiles fill a GPU where outputs are few. Measured on an H200: docs/performance-notebook.md."""
    return (
        WIDE if weight.rows >= _WIDE_OUTPUTS else Tile(64, 64, 32 if -(-weight.columns // GROUP) % 2 else 64)
    )
