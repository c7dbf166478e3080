"""Convolves columns along the tokens; the last inputs are the layer's recurrent state, as on a GPU."""

from __future__ import annotations

from tvm import tirx

from mlcweb.contract.constants import State
from mlcweb.kernels.cpu.builder import CpuKernel, repeat
from mlcweb.kernels.cpu.readers import four_of
from mlcweb.kernels.language.builder import dynamic, f32, kernel, load4, ramp4, select
from mlcweb.kernels.products.outputs import activate
from mlcweb.kernels.recurrent.causal_conv import CausalConv


@kernel
def causal_conv(conv: CausalConv, *, decode: bool = False) -> tirx.PrimFunc:
    """Kernel ``y[n, D]``, float32; the state moves on by n tokens, 1 in ``decode``.

    Arguments: x, taps, [bias], state, recurrent (written), y.
    """
    k, n, width = CpuKernel("causal_conv"), 1 if decode else dynamic("n"), conv.width
    x = k.buffer("x", (n, (3 if conv.gated else 1) * width), "float32")
    taps = conv.taps.bind(k, "taps")
    bias = conv.bias.bind(k, "bias") if conv.bias else None
    state = k.buffer("state", (State.WORDS,), "int32")
    recurrent = k.in_place("recurrent", (conv.kept, width), "float32")
    y = k.output("y", (n, width), "float32")
    column = k.let(k.parallel(width // 4) * 4, "column")
    tap4, zero = four_of(k, taps), repeat(f32(0.0))
    weights = [k.let(tap4(tap, column), "tap") for tap in range(conv.kept + 1)]
    begin = zero if bias is None else k.let(four_of(k, bias)(0, column), "bias")
    fresh = k.let(state[State.POSITION], "position") == 0
    before = [k.vector("before") for _ in range(conv.kept)]
    for tap, vector in enumerate(before):
        vector.set(select(fresh, zero, load4(recurrent, tap, column)))
    with k.loop(n) as row:
        value = load4(x, row, column)
        if conv.gated:
            value = value * load4(x, row, 2 * width + column)
        inputs = [*(vector.value for vector in before), k.let(value, "own")]
        total = begin
        for weight, value in zip(weights, inputs, strict=True):
            total = total + value * weight
        total = k.let(total, "total")
        if conv.activation is not None:
            total = activate(conv.activation, total, 4)
        if conv.gated:
            total = total * load4(x, row, width + column)
        k.store(y, [row, ramp4(column)], total)
        for vector, value in zip(before, inputs[1:], strict=True):
            vector.set(value)
    for tap, vector in enumerate(before):
        k.store(recurrent, [tap, ramp4(column)], vector.value)
    return k.finish()
