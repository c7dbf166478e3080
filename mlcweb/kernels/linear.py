"""Decode's matrix-vector product, with everything around it folded in: RMSNorm before, residual or SwiGLU after.

A workgroup makes a few outputs. A thread takes whole blocks (groups) of the input axis, so that neighbouring threads
load neighbouring 16 bytes of codes; x is brought to workgroup memory in the other order, so that its loads and reads
are neighbouring too: read straight from the buffer, a block's values would cost 32 cache lines a load.
"""

from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.kernels.builder import (
    KernelBuilder,
    bits,
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
from mlcweb.kernels.reduce import reduce_rows
from mlcweb.kernels.storage import GROUP, GroupQuantized, GroupQuantizedReader, Matrix, Reader, Values
from mlcweb.kernels.tier import Tier


@dataclass(frozen=True)
class Norm:
    """RMSNorm's weight ``[D]`` and epsilon."""

    weight: Values
    epsilon: float


def _threads(blocks: int) -> int:
    """64 where they divide the blocks of a row, else 32: more would not fit their part of x in workgroup memory."""
    return 64 if blocks % 64 == 0 else 32


def _rows(outputs: int) -> int:
    """Outputs of a workgroup: more share the loads of x, fewer leave more workgroups to fill a GPU with."""
    return 8 if outputs >= 32768 else 4


@kernel
def matvec(
    weight: Matrix,
    tier: Tier,
    *,
    norm: Norm | None = None,
    residual: bool = False,
    swiglu: bool = False,
    last_row: bool = False,
) -> tirx.PrimFunc:
    """Kernel ``y[1, N] = f(x) @ weight.T`` in float32, for ``x`` ``[1, K]``, or the last row of ``[n, K]``.

    Arguments: x, [norm weight], weight's tensors, [residual ``[1, N]``], y. ``swiglu``: ``weight`` is gate over
    up, ``[2N, K]``, and y = silu(gate) * up.
    """
    outputs = weight.rows // 2 if swiglu else weight.rows
    columns = weight.columns
    step = GROUP if isinstance(weight, GroupQuantized) else 4
    blocks = columns // step
    threads, per_group = _threads(blocks), _rows(outputs)
    k = KernelBuilder("matvec")
    x_rows = dynamic("n") if last_row else 1
    x = k.buffer("x", (x_rows, columns), "float32")
    norm_weight = norm.weight.bind(k, "norm") if norm else None
    w = weight.bind(k, "w")
    r = k.buffer("residual", (1, outputs), "float32") if residual else None
    y = k.buffer("y", (1, outputs), "float32")

    (wg,), tid = k.launch([T.ceildiv(outputs, per_group)], threads)
    first = k.let(wg * per_group, "first")
    rows = [_clamp(first + i, outputs, per_group) for i in range(per_group)]
    if swiglu:  # a gate row and its up row are summed by the same threads
        rows += [row + outputs for row in rows]
    count = len(rows) + (1 if norm else 0)
    sums = k.local(count, name="sums")
    for i in range(count):
        k.store(sums, i, f32(0.0))

    quads = step // 4  # vectors of four in a block
    stride = threads + 1 if quads > 1 else threads  # one more, so that no two threads of a row share a bank
    staged = k.shared(quads * stride * 4, name="staged")
    with k.loop(-(-blocks // threads)) as i:
        block = k.let(T.min(i * threads + tid, blocks - 1), "block")
        loaded = [_load_block(k, w, row, block) for row in rows]  # under way while x is staged
        for j in range(quads):
            item = k.let(j * threads + tid, "item")
            where = k.let((i * quads * threads + item) * 4, "at")
            value = k.local(1, "float32x4", name="value")
            k.store(value, 0, splat(f32(0.0)))
            with k.when(where < columns):
                k.store(value, 0, load4(x, x_rows - 1, where))
                if norm_weight is not None:
                    k.store(sums, len(rows), sums[len(rows)] + call("float32", "dot", value[0], value[0]))
                    k.store(value, 0, value[0] * norm_weight.four(k, 0, where))
            k.store(staged, ramp4((item % quads * stride + item // quads) * 4), value[0])
        k.barrier()
        x4 = [k.let(load4(staged, (c * stride + tid) * 4), "x4") for c in range(quads)]
        x_sum = k.let(call("float32", "dot", sum(x4[1:], x4[0]), splat(f32(1.0))), "x_sum")
        for j, values in enumerate(loaded):
            k.store(sums, j, sums[j] + _dot_block(w, values, x4, x_sum))
        k.barrier()

    totals = reduce_rows(k, tier, tid, sums, count, threads)
    with k.when(tid < per_group), k.when(first + tid < outputs):
        scale: Any = T.rsqrt(totals(len(rows)) / float(columns) + f32(norm.epsilon)) if norm else f32(1.0)
        value = k.let(totals(tid) * scale, "value")
        if swiglu:
            value = value / (1.0 + T.exp(-value)) * (totals(tid + per_group) * scale)
        k.store(y, [0, first + tid], value if r is None else r[0, first + tid] + value)
    return k.finish()


def _clamp(row: Any, rows: int, per_group: int) -> Any:
    return row if rows % per_group == 0 else T.min(row, rows - 1)


def _load_block(k: KernelBuilder, w: Reader, row: Any, block: Any) -> list[Any]:
    """A block of a row: its codes and scale, or four values."""
    if not isinstance(w, GroupQuantizedReader):
        return [k.let(w.four(k, row, block * 4), "w4")]
    return [k.let(load4(w.codes, row, block * 4), "words"), k.let(w.scale(k, row, block), "scale")]


def _dot_block(w: Reader, values: list[Any], x4: list[Any], x_sum: Any) -> Any:
    """The product of one block of a row with x.

    A code c goes into the mantissa of v = 1 + c/16, which costs a shift and one and-or where a conversion from
    integer runs at a quarter of the rate; then sum((c - 7) x) = 16 sum(v x) - 23 sum(x).
    """
    if not isinstance(w, GroupQuantizedReader):
        return call("float32", "dot", values[0], x4[0])
    words, scale = values
    total: Any = None
    for c, value in enumerate(x4):
        part = call("float32", "dot", _mantissas(lane(words, c // 2), high=c % 2 == 1), value)
        total = part if total is None else total + part
    return (total * 16.0 - x_sum * 23.0) * scale


def _mantissas(word: Any, high: bool) -> Any:
    """float32x4: 1 + c/16 of the low (or high) four 4-bit codes of a uint32; bits 19 to 22 are the mantissa's top."""
    wide = T.Broadcast(word, 4)
    if high:
        shifted = _shift_each(word, [(3, True), (1, False), (5, False), (9, False)])
    else:
        shifted = T.shift_left(wide, T.Shuffle([u32(s) for s in (19, 15, 11, 7)], [0, 1, 2, 3]))
    masked = T.bitwise_and(shifted, T.Broadcast(u32(0x00780000), 4))
    return bits("float32x4", T.bitwise_or(masked, T.Broadcast(u32(0x3F800000), 4)))


def _shift_each(word: Any, shifts: list[tuple[int, bool]]) -> Any:
    parts = [T.shift_left(word, u32(s)) if left else T.shift_right(word, u32(s)) for s, left in shifts]
    return T.Shuffle(parts, [0, 1, 2, 3])
