"""Convolves each column along the tokens, with the last inputs kept as the layer's recurrent state.

The state ``recurrent`` ``[K - 1, D]`` has the inputs of the tokens before, the last one's last. At position 0 its
content counts as zeros, so nobody has to clear it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tvm import tirx

from mlcweb.contract.constants import State
from mlcweb.kernels.language.builder import KernelBuilder, dynamic, f32, kernel, load4, ramp4, select, splat
from mlcweb.kernels.language.expr import Buffer, Expr, Index, T
from mlcweb.kernels.layouts.block_order import offset4
from mlcweb.kernels.layouts.storage import Values
from mlcweb.kernels.products.outputs import Activation, activate

THREADS = 64


@dataclass(frozen=True)
class CausalConv:
    """A depthwise convolution along tokens: ``taps`` ``[K, D]``, of which the last is the token's own, and ``bias``.

    ``gated``: x is ``[T, 3 D]``, three gates b, c and v side by side, and the result ``c * conv(b * v)``. Else x is
    ``[T, D]``, and the result ``activation(conv(x))``.
    """

    taps: Values
    bias: Values | None = None
    gated: bool = False
    activation: Activation | None = None

    @property
    def width(self) -> int:
        """D."""
        return self.taps.columns

    @property
    def kept(self) -> int:
        """Rows of the state."""
        return self.taps.rows - 1


@kernel
def causal_conv(conv: CausalConv, *, decode: bool = False, block_order: bool = False) -> tirx.PrimFunc:
    """Kernel ``y[n, D]``, float32. Arguments: x, taps, [bias], state, recurrent, y.

    ``decode``: n is 1, and the state moves on; in a prefill ``keep_inputs`` does that. ``block_order``: of y.
    """
    k, n, width = KernelBuilder("causal_conv"), 1 if decode else dynamic("n"), conv.width
    x = k.buffer("x", (n, (3 if conv.gated else 1) * width), "float32")
    taps = conv.taps.bind(k, "taps")
    bias = conv.bias.bind(k, "bias") if conv.bias else None
    declare = k.in_place if decode else k.buffer
    state = k.buffer("state", (State.WORDS,), "int32")
    recurrent = declare("recurrent", (conv.kept, width), "float32")
    y = k.output("y", (n, width), "float32")
    (wg, row), tid = k.launch([T.ceildiv(width // 4, THREADS), n], THREADS)
    column = k.let((wg * THREADS + tid) * 4, "column")
    with k.when(column < width):
        read = _reader(k, conv, x, column)
        before = _before(k, state, recurrent, column)
        inputs: list[Expr] = []
        for tap in range(conv.kept):
            if decode:
                inputs.append(before(tap))
                continue
            at = k.let(row - conv.kept + tap, "at")
            old = before(T.min(row + tap, conv.kept - 1))
            inputs.append(k.let(select(at >= 0, read(T.max(at, 0)), old), "input"))
        inputs.append(read(row))
        total = splat(f32(0.0)) if bias is None else bias.four(k, 0, column)
        for tap, value in enumerate(inputs):
            total = total + value * taps.four(k, tap, column)
        total = k.let(total, "total")
        if conv.activation is not None:
            total = activate(conv.activation, total, 4)
        if conv.gated:
            total = total * load4(x, row, width + column)
        k.store(y, [row, ramp4(offset4(column, width) if block_order else column)], total)
        if decode:
            for tap, value in enumerate(inputs[1:]):
                k.store(recurrent, [tap, ramp4(column)], value)
    return k.finish()


@kernel
def keep_inputs(conv: CausalConv) -> tirx.PrimFunc:
    """Kernel: the state after a chunk of n tokens. Arguments: x, state, recurrent (written)."""
    k, n, width = KernelBuilder("keep_inputs"), dynamic("n"), conv.width
    x = k.buffer("x", (n, (3 if conv.gated else 1) * width), "float32")
    state = k.buffer("state", (State.WORDS,), "int32")
    recurrent = k.in_place("recurrent", (conv.kept, width), "float32")
    (wg,), tid = k.launch([T.ceildiv(width // 4, THREADS)], THREADS)
    column = k.let((wg * THREADS + tid) * 4, "column")
    with k.when(column < width):
        read, before = _reader(k, conv, x, column), _before(k, state, recurrent, column)
        for kept in range(conv.kept):  # a row is read before it is written: n is at least 1
            at = k.let(n - conv.kept + kept, "at")
            old = before(T.min(n + kept, conv.kept - 1))
            k.store(recurrent, [kept, ramp4(column)], select(at >= 0, read(T.max(at, 0)), old))
    return k.finish()


def _reader(k: KernelBuilder, conv: CausalConv, x: Buffer, column: Expr) -> Callable[[Index], Expr]:
    """Reads the convolution's input of a token."""

    def read(row: Index) -> Expr:
        value = load4(x, row, column)
        return k.let(value * load4(x, row, 2 * conv.width + column) if conv.gated else value, "value")

    return read


def _before(k: KernelBuilder, state: Buffer, recurrent: Buffer, column: Expr) -> Callable[[Index], Expr]:
    """Reads a row of the state before the chunk: not a product, since what was left there may be NaN."""
    first = k.let(state[State.POSITION] == 0, "first")
    return lambda row: k.let(select(first, splat(f32(0.0)), load4(recurrent, row, column)), "before")
