"""Decode's matrix-vector product, with everything around it folded in: RMSNorm before, residual or SwiGLU after.

One workgroup makes ``ROWS`` outputs; its threads stride over the groups of the input axis, so that neighbouring
threads load neighbouring 16 bytes of codes.
"""

from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.kernels.builder import KernelBuilder, call, dynamic, f32, lane, load4, ramp4, splat
from mlcweb.kernels.reduce import reduce_sums
from mlcweb.kernels.storage import (
    GROUP,
    GroupQuantized,
    GroupQuantizedReader,
    Matrix,
    Reader,
    Values,
    nibbles4,
)
from mlcweb.kernels.tier import Tier

ROWS = 4
THREADS = 64


@dataclass(frozen=True)
class Norm:
    """RMSNorm's weight ``[D]`` and epsilon."""

    weight: Values
    epsilon: float


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
    k = KernelBuilder("matvec")
    x_rows = dynamic("n") if last_row else 1
    x = k.buffer("x", (x_rows, columns), "float32")
    norm_weight = norm.weight.bind(k, "norm") if norm else None
    w = weight.bind(k, "w")
    r = k.buffer("residual", (1, outputs), "float32") if residual else None
    y = k.buffer("y", (1, outputs), "float32")

    (wg,), tid = k.launch([T.ceildiv(outputs, ROWS)], THREADS)
    first = k.let(wg * ROWS, "first")
    # a gate row and its up row are summed by the same threads
    rows = [_clamp(first + i, outputs) for i in range(ROWS)]
    if swiglu:
        rows += [row + outputs for row in rows]
    sums = k.local(len(rows) + (1 if norm else 0), name="sums")
    for i in range(len(rows) + (1 if norm else 0)):
        k.store(sums, i, f32(0.0))

    step = GROUP if isinstance(weight, GroupQuantized) else 4
    blocks = columns // step
    with k.loop(T.ceildiv(blocks - tid, THREADS)) as i:
        block = k.let(i * THREADS + tid, "block")
        x4 = []
        for c in range(step // 4):
            value = k.let(load4(x, x_rows - 1, block * step + c * 4), "x4")
            if norm_weight is not None:
                k.store(sums, len(rows), sums[len(rows)] + call("float32", "dot", value, value))
                value = k.let(value * norm_weight.four(k, 0, block * step + c * 4), "x4n")
            x4.append(value)
        # sum((code - 7) * x) = sum(code * x) - 7 * sum(x): the second is the same for all rows
        x_sum = k.let(7.0 * call("float32", "dot", sum(x4[1:], x4[0]), splat(f32(1.0))), "x_sum")
        for j, row in enumerate(rows):
            k.store(sums, j, sums[j] + _dot_block(k, w, row, block, x4, x_sum))

    totals = reduce_sums(k, tier, tid, sums, len(rows) + (1 if norm else 0), THREADS)
    with k.when(tid == 0):
        factor: Any = None
        if norm:
            factor = k.let(T.rsqrt(totals[len(rows)] / float(columns) + f32(norm.epsilon)), "factor")
        values = [totals[j] * factor if norm else totals[j] for j in range(len(rows))]
        if swiglu:
            gates = [k.let(v, "gate") for v in values[:ROWS]]
            values = [g / (1.0 + T.exp(-g)) * u for g, u in zip(gates, values[ROWS:], strict=True)]
        _write(k, y, r, first, outputs, values)
    return k.finish()


def _clamp(row: Any, rows: int) -> Any:
    return row if rows % ROWS == 0 else T.min(row, rows - 1)


def _dot_block(k: KernelBuilder, w: Reader, row: Any, block: Any, x4: list[Any], x_sum: Any) -> Any:
    """The product of one block of a row with x."""
    if not isinstance(w, GroupQuantizedReader):
        return call("float32", "dot", w.four(k, row, block * 4), x4[0])
    words = k.let(load4(w.codes, row, block * 4), "words")
    total = None
    for c, value in enumerate(x4):
        part = call("float32", "dot", nibbles4(lane(words, c // 2), high=c % 2 == 1), value)
        total = part if total is None else total + part
    return (total - x_sum) * w.scale(k, row, block)


def _write(k: KernelBuilder, y: Any, r: Any, first: Any, outputs: int, values: list[Any]) -> None:
    if outputs % ROWS == 0:
        result = T.Shuffle(values, list(range(ROWS)))
        k.store(y, [0, ramp4(first)], result if r is None else load4(r, 0, first) + result)
        return
    for i, value in enumerate(values):
        with k.when(first + i < outputs):
            k.store(y, [0, first + i], value if r is None else r[0, first + i] + value)
