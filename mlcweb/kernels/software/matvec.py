"""Decode's matrix-vector product on a CPU: a thread sums several rows, a lane a row; x goes from lane to lane.

A word of codes is loaded once for eight weights of 4 bits, or four of 8. Each code is masked where it is in the word,
and converted as it is, 16^i or 256^i times too large: x is scaled back once for all rows, which is exact. Codes of two
planes or with a table of levels are shifted down instead.
"""

from functools import partial
from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.kernels.language.builder import KernelBuilder, bits, dynamic, f32, kernel, u32
from mlcweb.kernels.layouts.pieces import Piece
from mlcweb.kernels.layouts.quantized import GroupQuantized
from mlcweb.kernels.layouts.storage import Values
from mlcweb.kernels.layouts.tail import load_padded
from mlcweb.kernels.products.matvec import Norm
from mlcweb.kernels.products.outputs import Activation, activate, soft_cap
from mlcweb.kernels.software.quads import QUAD, broadcast, quad_sum, rows_of_thread, threads_for
from mlcweb.kernels.software.words import high_word, level_of, scales_in_place, span_of


def _vectors(rows: int) -> int:
    """Rows that a thread sums: more share the loads of x, fewer leave more workgroups to the CPUs."""
    return 16 if rows >= 2048 else 8


@kernel
def matvec(
    weight: GroupQuantized,
    *,
    norm: Norm | None = None,
    bias: Values | None = None,
    residual: bool = False,
    times: bool = False,
    bias_first: int = 0,
    activation: Activation | None = None,
    gated: bool = False,
    cap: float | None = None,
    last_row: bool = False,
    piece: Piece | None = None,
) -> tirx.PrimFunc:
    """Kernel ``y[1, N] = f(x) @ weight.T`` in float32: the arguments and options of ``linear.matvec``."""
    outputs = weight.rows // 2 if gated else weight.rows
    piece = piece or Piece(0, outputs)
    vectors = _vectors(weight.rows)
    per_thread = vectors // 2 if gated else vectors
    per_quad = per_thread * QUAD
    quads = -(-outputs // per_quad)
    threads = threads_for(quads)
    k = KernelBuilder("matvec")
    x_rows = dynamic("n") if last_row else 1
    x = k.buffer("x", (x_rows, weight.columns), "float32")
    norm_weight = norm.weight.bind(k, "norm") if norm else None
    w = weight.bind(k, "w")
    b = bias.bind(k, "bias") if bias else None
    r = k.buffer("residual", (1, piece.outputs), "float32") if residual or times else None
    y = k.buffer("y", (1, piece.outputs), "float32")

    (wg,), tid = k.launch([-(-quads * QUAD // threads)], threads)
    lane, rows = rows_of_thread(k, wg, tid, threads, per_thread)
    if gated:
        rows += [row + outputs for row in rows]

    sums, parts = k.local(vectors, name="sums"), k.local(vectors, name="parts")
    each, quads_of_word = w.codes_per_word, w.codes_per_word // QUAD
    direct = scales_in_place(w.form)
    squares, mine = k.local(1, name="squares"), k.local(quads_of_word, name="mine")
    values, x_sum = k.local(each, name="values"), k.local(1, name="x_sum")
    word = k.local(1, "uint32", name="word")
    high = k.local(1, "uint32", name="high") if len(w.planes) > 1 else None
    for v in range(vectors):
        k.store(sums, v, f32(0.0))
    k.store(squares, 0, f32(0.0))
    span = span_of(weight)
    padded = partial(load_padded, columns=weight.columns, step=span, lanes=1)
    with k.loop(-(-weight.columns // span)) as block:
        group = block if span == weight.group_size else w.group(block * span)
        k.store(x_sum, 0, f32(0.0))
        for v in range(vectors):
            k.store(parts, v, f32(0.0))
        with k.loop(span // each) as step:
            index = block * (span // each) + step
            for q in range(quads_of_word):
                column = index * each + q * QUAD + lane[0]
                k.store(mine, q, padded(lambda at: x[x_rows - 1, at], column))
                if norm_weight is not None:
                    k.store(squares, 0, squares[0] + mine[q] * mine[q])
                    k.store(mine, q, mine[q] * padded(lambda at: norm_weight.one(k, at), column))
            for i in range(each):
                k.store(values, i, broadcast(mine[i // QUAD], i % QUAD))
                k.store(x_sum, 0, x_sum[0] + values[i])
                if direct and i < each - 1:
                    k.store(values, i, values[i] * _power2(-w.bits * i))
            for v, row in enumerate(rows):
                k.store(word, 0, w.word(row, index))
                if high is not None:
                    k.store(high, 0, high_word(w, row, index))
                if direct:
                    k.store(parts, v, parts[v] + _dot_word(word[0], values, w.bits))
                    continue
                for i in range(each):
                    level = level_of(w, word[0], None if high is None else high[0], i)
                    k.store(parts, v, parts[v] + level * values[i])
        for v, row in enumerate(rows):
            scale, minimum = w.scales(k, row, group)
            levels = parts[v] - x_sum[0] * float(w.zero) if w.zero else parts[v]
            k.store(sums, v, sums[v] + levels * scale)
            if minimum is not None:
                k.store(sums, v, sums[v] + x_sum[0] * minimum)

    factor = k.local(1, name="factor")
    k.store(factor, 0, f32(1.0))
    if norm:
        quad_sum(k, squares)
        k.store(factor, 0, T.rsqrt(squares[0] / float(weight.columns) + f32(norm.epsilon)))
    for v in range(per_thread):
        with k.when(rows[v] < outputs):
            value = k.local(1, name="value")
            at = rows[v] + piece.first if piece.first else rows[v]

            def output(total: Any, row: Any) -> Any:
                return total * factor[0] if b is None else total * factor[0] + b.one(k, 0, row + bias_first)

            k.store(value, 0, output(sums[v], at))
            if activation is not None:
                k.store(value, 0, activate(activation, value[0]))
            if gated:
                k.store(value, 0, value[0] * output(sums[v + per_thread], at + piece.outputs))
            if cap is not None:
                k.store(value, 0, soft_cap(value[0], cap))
            k.store(
                y, [0, at], value[0] if r is None else r[0, at] * value[0] if times else r[0, at] + value[0]
            )
    return k.finish()


def _power2(exponent: int) -> Any:
    """float32: a power of 2 by its bits, since TVM prints seven digits of a constant."""
    return bits("float32", u32((127 + exponent) << 23))


def _dot_word(word: Any, values: Any, width: int) -> Any:
    """The sum of code i times ``values[i]`` times 2^(i * width); the last code has a sign's place, and is shifted."""
    total: Any = None
    count = 32 // width
    for i in range(count):
        start = width * i
        mask = ((1 << width) - 1) << start
        code = T.shift_right(word, u32(start)) if i == count - 1 else T.bitwise_and(word, u32(mask))
        part = T.Cast("float32", T.reinterpret("int32", code)) * values[i]
        total = part if total is None else total + part
    return total
