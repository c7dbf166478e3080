"""Prefill's matrix product: register tiles over workgroup-memory tiles, dequantized as they are loaded.

A workgroup makes 32 rows by 64 columns with 64 threads; a thread keeps 4 x 8 sums in registers. Both tiles are
stored transposed in vectors of four, so that the inner loop reads three vectors for 32 multiply-adds.
"""

from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.kernels.builder import KernelBuilder, cast, dynamic, f32, lane, load4, ramp4, splat, u32
from mlcweb.kernels.storage import GroupQuantizedReader, Matrix, Reader
from mlcweb.kernels.tier import Tier

TILE_ROWS = 32
TILE_COLUMNS = 64
TILE_DEPTH = 32
THREADS = 64


def matmul(weight: Matrix, tier: Tier, *, residual: bool = False, swiglu: bool = False) -> tirx.PrimFunc:
    """Kernel ``y[n, N] = x @ weight.T`` in float32, tiles in float16 on the f16 tiers.

    Arguments: x ``[n, K]``, weight's tensors, [residual ``[n, N]``], y. ``swiglu``: ``weight`` is gate over up,
    ``[2N, K]``, and y = silu(gate) * up; a tile's first 32 columns are gates, the others their ups.
    """
    outputs = weight.rows // 2 if swiglu else weight.rows
    if outputs % 4 or weight.columns % TILE_DEPTH:
        raise ValueError(f"matmul needs N % 4 == 0 and K % 32 == 0, not {weight.rows} x {weight.columns}")
    tile_dtype = "float16" if tier.f16 else "float32"
    k = KernelBuilder("matmul")
    n = dynamic("n")
    x = k.buffer("x", (n, weight.columns), "float32")
    w = weight.bind(k, "w")
    r = k.buffer("residual", (n, outputs), "float32") if residual else None
    y = k.buffer("y", (n, outputs), "float32")

    step = TILE_COLUMNS // 2 if swiglu else TILE_COLUMNS
    (wg_n, wg_m), tid = k.launch([T.ceildiv(outputs, step), T.ceildiv(n, TILE_ROWS)], THREADS)
    a_tile = k.shared(TILE_DEPTH * TILE_ROWS, tile_dtype, name="a_tile")
    b_tile = k.shared(TILE_DEPTH * TILE_COLUMNS, tile_dtype, name="b_tile")
    sums = k.local(8, "float32x4", name="sums")
    for i in range(8):
        k.store(sums, i, splat(f32(0.0)))
    row0, column0 = k.let(wg_m * TILE_ROWS, "row0"), k.let(wg_n * step, "column0")
    tx, ty = k.let(tid % 8, "tx"), k.let(tid // 8, "ty")

    with k.loop(weight.columns // TILE_DEPTH) as block:
        _load_a(k, x, a_tile, n, row0, block, tx, ty, tile_dtype)
        _load_b(k, w, b_tile, column0, outputs, block, tid, swiglu, tile_dtype)
        k.barrier()
        with k.loop(TILE_DEPTH) as depth:
            a = k.let(load4(a_tile, depth * TILE_ROWS + ty * 4), "a")
            b = [k.let(load4(b_tile, depth * TILE_COLUMNS + tx * 4 + h * 32), "b") for h in (0, 1)]
            for i in range(4):
                for h in (0, 1):
                    product = cast("float32x4", splat(lane(a, i)) * b[h])
                    k.store(sums, i * 2 + h, sums[i * 2 + h] + product)
        k.barrier()

    for i in range(4):
        row = row0 + ty * 4 + i
        with k.when(row < n):
            if swiglu:
                _write(k, y, r, row, column0 + tx * 4, outputs, _silu(k, sums[i * 2]) * sums[i * 2 + 1])
            else:
                for h in (0, 1):
                    _write(k, y, r, row, column0 + tx * 4 + h * 32, outputs, sums[i * 2 + h])
    return k.finish()


def _load_a(
    k: KernelBuilder, x: Any, tile: Any, n: Any, row0: Any, block: Any, tx: Any, ty: Any, dtype: str
) -> None:
    """Thread (tx, ty) brings columns 4tx… of rows 4ty… and stores them transposed."""
    rows = [
        k.let(load4(x, T.min(row0 + ty * 4 + i, n - 1), block * TILE_DEPTH + tx * 4), "x4") for i in range(4)
    ]
    for c in range(4):
        column = T.Shuffle([lane(row, c) for row in rows], [0, 1, 2, 3])
        k.store(tile, ramp4((tx * 4 + c) * TILE_ROWS + ty * 4), cast(f"{dtype}x4", column))


def _load_b(
    k: KernelBuilder,
    w: Reader,
    tile: Any,
    column0: Any,
    outputs: int,
    block: Any,
    tid: Any,
    swiglu: bool,
    dtype: str,
) -> None:
    """Thread (q, d) brings eight values of depth 8d… from each of the four weight rows 4q…, dequantized."""
    q, d = k.let(tid % 16, "q"), k.let(tid // 16, "d")
    base = k.let(column0 + q * 4, "base")
    if swiglu:
        base = k.let(T.Select(q < 8, column0 + q * 4, column0 + q * 4 - 32), "base")
    rows = []
    for i in range(4):
        row = T.min(base + i, outputs - 1)
        rows.append(k.let(T.Select(q < 8, row, row + outputs) if swiglu else row, "row"))
    depth = k.let(block * TILE_DEPTH + d * 8, "depth")
    if isinstance(w, GroupQuantizedReader):
        words = [k.let(w.codes[row, T.shift_right(depth, 3)], "word") for row in rows]
        word4 = k.let(T.Shuffle(words, [0, 1, 2, 3]), "word4")
        scale4 = k.let(T.Shuffle([w.scale(k, row, block) for row in rows], [0, 1, 2, 3]), "scale4")
        for c in range(8):
            codes = T.bitwise_and(T.shift_right(word4, T.Broadcast(u32(4 * c), 4)), T.Broadcast(u32(15), 4))
            value = (T.Cast("float32x4", codes) - splat(f32(7.0))) * scale4
            k.store(tile, ramp4((d * 8 + c) * TILE_COLUMNS + q * 4), cast(f"{dtype}x4", value))
        return
    for half in (0, 1):
        fours = [k.let(w.four(k, row, depth + half * 4), "w4") for row in rows]
        for c in range(4):
            column = T.Shuffle([lane(four, c) for four in fours], [0, 1, 2, 3])
            k.store(tile, ramp4((d * 8 + half * 4 + c) * TILE_COLUMNS + q * 4), cast(f"{dtype}x4", column))


def _silu(k: KernelBuilder, value: Any) -> Any:
    gate = k.let(value, "gate")
    return gate / (splat(f32(1.0)) + T.exp(splat(f32(0.0)) - gate))


def _write(k: KernelBuilder, y: Any, r: Any, row: Any, column: Any, outputs: int, value: Any) -> None:
    with k.when(column < outputs):
        k.store(y, [row, ramp4(column)], value if r is None else load4(r, row, column) + value)
