"""Prefill's matrix product with activations rounded to int8: four multiply-adds an instruction (dot4I8Packed).

Activations get a scale for each 32 values of a row. The sum over a group, of activations or of weights if theirs are
smaller, is exact in int32, and is multiplied by both scales in float32. llama.cpp's Q8_1 activations are the same
idea; here weights' codes lose their offset when a tile is filled, so that sums of activations are needed only for
weights with a minimum.
"""

from collections.abc import Callable

from tvm import tirx

from mlcweb.kernels.experts.tile import SlotRows
from mlcweb.kernels.experts.weights import ExpertRange
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
    u32,
)
from mlcweb.kernels.language.expr import Buffer, Expr, T
from mlcweb.kernels.layouts.pieces import Piece
from mlcweb.kernels.layouts.quantized import GroupQuantized
from mlcweb.kernels.layouts.storage import GROUP
from mlcweb.kernels.products.matmul import TileWriter
from mlcweb.kernels.products.matmul_int8_stage import WORDS, Rounded, Stage, StagedRows, takes_codes
from mlcweb.kernels.products.outputs import NOTHING, Folded

# Rows and columns of a workgroup; a thread has 4 x 4 sums. Small tiles fill a GPU where outputs are few; where they
# are many, large ones read x and the weight half as often. Measured on an H200: docs/performance-notebook.md.
_NARROW, _WIDE = 32, 64
_WIDE_OUTPUTS = 4096
ROWS = _WIDE  # with experts


@kernel
def matmul_int8(
    weight: GroupQuantized,
    *,
    folded: Folded = NOTHING,
    experts: ExpertRange | None = None,
    piece: Piece | None = None,
) -> tirx.PrimFunc:
    """Kernel ``y[n, N] = x @ weight.T`` in float32, x as ``quantize_rows`` leaves it.

    Arguments: codes ``[n, 8 * groups]``, scales ``[n, groups]``, w, what ``folded`` has of bias and residual
    ``[n, N]``, y. Of gate over up, half of a tile's columns are gates. ``experts``: as for ``matmul``, with a row of x
    for each token, and slots for tiles of ``ROWS``. ``piece``: which of y's N ``weight`` makes.
    """
    each = weight.rows // experts.count if experts else weight.rows
    outputs, gated = folded.outputs(each), folded.gated
    groups = -(-weight.columns // GROUP)
    _check(weight, outputs)
    many = 2 if groups % 2 == 0 else 1  # groups staged at a time
    k = KernelBuilder("matmul_int8")
    n = dynamic("n")
    if experts:
        k.reads(experts=experts.total, choices=experts.experts_per_token)
    x = Rounded(k.buffer("codes", (n, groups * WORDS), "uint32"), k.buffer("scales", (n, groups), "float32"))
    w = weight.bind(k, "w")
    slots = SlotRows(k, n, experts, ROWS) if experts else None
    writer = TileWriter.bind(k, n, experts.experts_per_token if experts else 1, outputs, folded, piece)

    tile = _WIDE if experts or weight.rows >= _WIDE_OUTPUTS else _NARROW
    quads, step = tile // 4, tile // 2 if gated else tile
    grid = [T.ceildiv(outputs, step), slots.tiles if slots else T.ceildiv(n, tile)]
    (wg_n, wg_m), tid = k.launch(grid, quads * quads)
    expert = slots.begin(k, wg_m, tid, from_pairs=False) if slots else 0
    writer = writer.of_expert(expert + experts.first) if experts else writer
    tx, ty = k.let(tid % quads, "tx"), k.let(tid // quads, "ty")
    row0, column0 = k.let(wg_m * tile, "row0"), k.let(wg_n * step, "column0")

    def source(row: Expr) -> Expr:
        return slots.source(row) if slots else T.min(row0 + row, n - 1)

    rows_of = StagedRows(source, expert * each, column0, outputs, gated)
    stage = Stage(k, tile, many, rows_of, x, w, tid)
    sums = k.local(4, "float32x4", name="sums")
    for i in range(4):
        k.store(sums, i, splat(f32(0.0)))
    _multiply(k, stage, groups // many, tx, ty, sums)

    def write(i: int, values: list[Expr], holds: Expr | None = None) -> None:
        """Row i of the thread's, where ``holds``."""
        row = k.let(slots.pair(ty * 4 + i), "pair") if slots else row0 + ty * 4 + i
        exists = row >= 0 if slots else row < n
        with k.when(exists if holds is None else tirx.all(exists, holds)):
            writer.write(row, column0 + tx * 4, 0, values)

    if gated:
        _write_gated(k, quads, tx, ty, sums, write)
    else:
        for i in range(4):
            write(i, [sums[i]])
    return k.finish()


def _check(weight: GroupQuantized, outputs: int) -> None:
    if outputs % 4:
        raise ValueError(f"matmul_int8 needs N % 4 == 0, not {weight.rows} x {weight.columns}")
    if weight.step != GROUP:
        raise ValueError(
            f"matmul_int8 needs groups that {GROUP} divides, or that divide it, not {weight.group_size}"
        )


def _multiply(k: KernelBuilder, stage: Stage, k_tiles: int, tx: Expr, ty: Expr, sums: Buffer) -> None:
    """Add the whole product to ``sums``, some groups at a time."""
    stage.fetch(0)
    with k.loop(k_tiles) as k_tile:
        k.barrier()
        stage.put()
        k.barrier()
        with k.when(k_tile + 1 < k_tiles):
            stage.fetch((k_tile + 1) * stage.many)  # under way during the arithmetic
        for g in range(stage.many):
            _multiply_group(k, stage, g, tx, ty, sums)


def _multiply_group(k: KernelBuilder, stage: Stage, g: int, tx: Expr, ty: Expr, sums: Buffer) -> None:
    """``sums += scales * (codes of x · codes of w)`` for group g of the tile."""
    exact = k.local(4, "int32x4", name="exact")
    rows = k.local(1, "int32x4", name="rows") if stage.b_minimums is not None else None
    words = WORDS // stage.weight_groups
    for weight_group in range(stage.weight_groups):
        zero = T.Broadcast(tirx.const(0, "int32"), 4)
        for i in range(4):
            k.store(exact, i, zero)
        if rows is not None:
            k.store(rows, 0, zero)
        with k.loop(words) as word:
            at = (g * WORDS + weight_group * words + word) * stage.pitch
            a = k.let(load4(stage.a, (at + ty) * 4), "a")
            b = k.let(load4(stage.b, (at + tx) * 4), "b")
            for i in range(4):
                dots = [call("int32", "dot4I8Packed", lane(a, i), lane(b, j)) for j in range(4)]
                k.store(exact, i, exact[i] + T.Shuffle(dots, [0, 1, 2, 3]))
            if rows is not None:
                of_rows = [call("int32", "dot4I8Packed", lane(a, i), u32(0x01010101)) for i in range(4)]
                k.store(rows, 0, rows[0] + T.Shuffle(of_rows, [0, 1, 2, 3]))
        _scale(k, stage, g, weight_group, (tx, ty), exact, rows, sums)


def _scale(
    k: KernelBuilder,
    stage: Stage,
    g: int,
    weight_group: int,
    place: tuple[Expr, Expr],
    exact: Buffer,
    rows: Buffer | None,
    sums: Buffer,
) -> None:
    """Add the exact sums of a part of a group to ``sums``, times its scales; and those of rows, times its minimum."""
    tx, ty = place
    row_scales = k.let(load4(stage.a_scales, (g * stage.quads + ty) * 4), "row_scales")
    at = ((g * stage.weight_groups + weight_group) * stage.quads + tx) * 4
    column_scales = k.let(load4(stage.b_scales, at), "column_scales")
    for i in range(4):
        scale = splat(lane(row_scales, i)) * column_scales
        k.store(sums, i, sums[i] + T.Cast("float32x4", exact[i]) * scale)
    if rows is not None and stage.b_minimums is not None:
        minimums = k.let(load4(stage.b_minimums, at), "minimums")
        total = k.let(T.Cast("float32x4", rows[0]) * row_scales, "row_sums")
        for i in range(4):
            k.store(sums, i, sums[i] + splat(lane(total, i)) * minimums)


def _write_gated(
    k: KernelBuilder,
    quads: int,
    tx: Expr,
    ty: Expr,
    sums: Buffer,
    write: Callable[[int, list[Expr], Expr], None],
) -> None:
    """A thread's columns are gates or ups: those with gates get the ups, two rows at a time."""
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


def in_pairs(weight: GroupQuantized) -> bool:
    """Whether x must come as ``quantize_rows`` pairs it."""
    return takes_codes(weight.form) and weight.form.nibbles
