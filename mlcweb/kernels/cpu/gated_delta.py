"""The gated delta rule (``kernels.recurrent.gated_delta``): a thread has whole heads, and goes through the tokens."""

from __future__ import annotations

from tvm import tirx

from mlcweb.contract.constants import State
from mlcweb.kernels.cpu.builder import CpuKernel, llvm, repeat, sum_of_lanes
from mlcweb.kernels.language.builder import call, dynamic, exp, f32, kernel, load4, log, ramp4
from mlcweb.kernels.language.expr import Expr, T
from mlcweb.kernels.recurrent.gated_delta import EPSILON, GatedDelta


@kernel
def gated_delta(delta: GatedDelta, *, decode: bool = False) -> tirx.PrimFunc:
    """Kernel ``o[n, H * V]``, float32; the state moves on by n tokens, 1 in ``decode``.

    Arguments: qkv ``[n, width]``, ba ``[n, 2 H]`` (b before its sigmoid, and a), rate, shift, state, recurrent, o.
    """
    k, n = CpuKernel("gated_delta"), 1 if decode else dynamic("n")
    keys, values, quads = delta.key_width, delta.value_width, delta.key_width // 4
    qkv = k.buffer("qkv", (n, delta.width), "float32")
    ba = k.buffer("ba", (n, 2 * delta.heads), "float32")
    rate, shift = delta.rate.bind(k, "rate"), delta.shift.bind(k, "shift")
    state = k.buffer("state", (State.WORDS,), "int32")
    recurrent = k.in_place("recurrent", delta.state_shape, "float32")
    o = k.output("o", (n, delta.heads * values), "float32")
    head = k.parallel(delta.heads)
    query = k.let(head // (delta.heads // delta.key_heads) * keys, "query")
    key = k.let(query + delta.key_heads * keys, "key")
    first = k.let(head * values, "first")
    speed = k.let(exp(k.let(rate.one(k, 0, head), "rate")), "speed")
    with k.when(state[State.POSITION] == 0), k.loop(values) as i, k.loop(quads) as quad:
        k.store(recurrent, [first + i, ramp4(quad * 4)], repeat(f32(0.0)))
    with k.loop(n) as t:

        def dot(a: Expr, b: Expr) -> Expr:
            total = k.vector("total")
            with k.loop(quads) as quad:
                total.add(load4(qkv, t, a + quad * 4) * load4(qkv, t, b + quad * 4))
            return k.let(sum_of_lanes(k, total.value), "dot")

        length, scale = (k.let(_inverse_length(dot(at, at)), "length") for at in (key, query))
        scale = k.let(scale * f32(keys**-0.5), "scale")
        both = dot(key, query)
        gate = _softplus(k, k.let(ba[t, delta.heads + head] + shift.one(k, 0, head), "a"))
        decay = k.let(exp(f32(0.0) - speed * gate), "decay")
        beta = k.let(f32(1.0) / (f32(1.0) + exp(k.let(f32(0.0) - ba[t, head], "b"))), "beta")
        with k.loop(values) as i:
            row = k.let(first + i, "row")
            sums = [k.vector("by_key"), k.vector("by_query")]
            with k.loop(quads) as quad:
                s4 = k.let(load4(recurrent, row, quad * 4), "s4")
                for total, at in zip(sums, (key, query), strict=True):
                    total.add(s4 * load4(qkv, t, at + quad * 4))
            by_key, by_query = (k.let(sum_of_lanes(k, total.value), "sum") for total in sums)
            value = qkv[t, 2 * delta.key_heads * keys + row]
            correction = k.let((value - decay * length * by_key) * beta, "correction")
            k.store(o, [t, row], scale * (decay * by_query + correction * length * both))
            step = k.let(repeat(correction * length), "step")
            with k.loop(quads) as quad:
                kept = load4(recurrent, row, quad * 4) * repeat(decay)
                k.store(recurrent, [row, ramp4(quad * 4)], kept + load4(qkv, t, key + quad * 4) * step)
    return k.finish()


def _inverse_length(square: Expr) -> Expr:
    return f32(1.0) / llvm("float32", "sqrt", square + f32(EPSILON))


def _softplus(k: CpuKernel, x: Expr) -> Expr:
    """log(1 + exp(x)), which is x where exp would overflow."""
    small = exp(k.let(f32(0.0) - call("float32", "abs", x), "minus"))
    return k.let(T.max(x, f32(0.0)) + log(k.let(f32(1.0) + small, "sum")), "softplus")
