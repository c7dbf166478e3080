"""Prefill's matrix product on a CPU: a thread makes 8 x 8 outputs, a lane a weight row; x goes from lane to lane.

What is live at a time is kept small: eight sums, a weight of each row, one x.
"""

from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.kernels.language.builder import KernelBuilder, dynamic, f32, kernel
from mlcweb.kernels.layouts.pieces import Piece
from mlcweb.kernels.layouts.quantized import GroupQuantized
from mlcweb.kernels.layouts.storage import Values
from mlcweb.kernels.layouts.tail import load_padded
from mlcweb.kernels.products.outputs import Activation, activate
from mlcweb.kernels.software.quads import QUAD, broadcast, rows_of_thread, threads_for
from mlcweb.kernels.software.words import high_word, level_of, span_of

VECTORS = 8  # weight rows of a thread
TOKENS = 8


@kernel
def matmul(
    weight: GroupQuantized,
    *,
    bias: Values | None = None,
    residual: bool = False,
    times: bool = False,
    bias_first: int = 0,
    activation: Activation | None = None,
    gated: bool = False,
    piece: Piece | None = None,
) -> tirx.PrimFunc:
    """Kernel ``y[n, N] = x @ weight.T`` in float32: the arguments and options of ``matmul.matmul``."""
    outputs = weight.rows // 2 if gated else weight.rows
    piece = piece or Piece(0, outputs)
    per_thread = VECTORS // 2 if gated else VECTORS
    per_quad = per_thread * QUAD
    quads = -(-outputs // per_quad)
    threads = threads_for(quads)
    k = KernelBuilder("matmul")
    n = dynamic("n")
    x = k.buffer("x", (n, weight.columns), "float32")
    w = weight.bind(k, "w")
    b = bias.bind(k, "bias") if bias else None
    r = k.buffer("residual", (n, piece.outputs), "float32") if residual or times else None
    y = k.buffer("y", (n, piece.outputs), "float32")

    (wg, block), tid = k.launch([-(-quads * QUAD // threads), T.ceildiv(n, TOKENS)], threads)
    lane, rows = rows_of_thread(k, wg, tid, threads, per_thread)
    # tokens past the last are read all the same too
    if gated:
        rows += [row + outputs for row in rows]
    tokens = [block * TOKENS + m for m in range(TOKENS)]

    sums = k.local(VECTORS * TOKENS, name="sums")
    scales, zeros = k.local(VECTORS, name="scales"), k.local(VECTORS, name="zeros")
    words, mine = k.local(VECTORS, "uint32", name="words"), k.local(TOKENS, name="mine")
    weights, value = k.local(VECTORS, name="weights"), k.local(1, name="value")
    for i in range(VECTORS * TOKENS):
        k.store(sums, i, f32(0.0))

    def load(token: Any, column: Any) -> Any:
        return load_padded(lambda at: x[token, at], column, weight.columns, span, lanes=1)

    span = span_of(weight)

    highs = k.local(VECTORS, "uint32", name="highs") if len(w.planes) > 1 else None
    with k.loop(-(-weight.columns // span)) as part:
        group = part if span == weight.group_size else w.group(part * span)
        for v, row in enumerate(rows):
            scale, minimum = w.scales(k, row, group)
            k.store(scales, v, scale)
            k.store(zeros, v, scales[v] * float(-w.zero))
            if minimum is not None:
                k.store(zeros, v, zeros[v] + minimum)
        with k.loop(span // w.codes_per_word) as step:
            index = part * (span // w.codes_per_word) + step
            for v, row in enumerate(rows):
                k.store(words, v, w.word(row, index))
                if highs is not None:
                    k.store(highs, v, high_word(w, row, index))
            for q in range(w.codes_per_word // QUAD):
                column = index * w.codes_per_word + q * QUAD + lane[0]
                for m, token in enumerate(tokens):
                    k.store(mine, m, load(token, column))
                for i in range(QUAD):
                    for v in range(VECTORS):
                        level = level_of(w, words[v], None if highs is None else highs[v], q * QUAD + i)
                        k.store(weights, v, level * scales[v] + zeros[v])
                    for m in range(TOKENS):
                        k.store(value, 0, broadcast(mine[m], i))
                        for v in range(VECTORS):
                            at = v * TOKENS + m
                            k.store(sums, at, sums[at] + weights[v] * value[0])

    def biased(total: Any, row: Any) -> Any:
        return total if b is None else total + b.one(k, 0, row + bias_first)

    for m, token in enumerate(tokens):
        with k.when(token < n):
            for v in range(per_thread):
                with k.when(rows[v] < outputs):
                    at = rows[v] + piece.first if piece.first else rows[v]
                    k.store(value, 0, biased(sums[v * TOKENS + m], at))
                    if activation is not None:
                        k.store(value, 0, activate(activation, value[0]))
                    if gated:
                        up = biased(sums[(v + per_thread) * TOKENS + m], at + piece.outputs)
                        k.store(value, 0, value[0] * up)
                    other = None if r is None else r[token, at]
                    k.store(y, [token, at], _with(value[0], other, times))
    return k.finish()


def _with(value: Any, other: Any, times: bool) -> Any:
    if other is None:
        return value
    return other * value if times else other + value
