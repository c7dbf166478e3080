"""The gated delta rule: a matrix for each head, which each token decays, corrects and reads.

Yang, Kautz, Hatamizadeh: Gated Delta Networks (2024). Of a head, with k and q of length 1 (and q times K^-0.5):

    S = exp(g) S;  S = S + k (b (v - S^T k))^T;  o = S^T q

The state ``recurrent`` ``[H * V, K]`` has a row for each column of S, float32. At position 0 its content counts as
zeros, so nobody has to clear it.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

from mlcweb.contract.constants import State
from mlcweb.kernels.language.builder import (
    KernelBuilder,
    call,
    dynamic,
    f32,
    kernel,
    load4,
    ramp4,
    select,
    splat,
)
from mlcweb.kernels.language.expr import Expr, T
from mlcweb.kernels.layouts.storage import Values

THREADS = 128
_LANES = 4  # threads that share a row of the state
EPSILON = 1e-6  # of the lengths
_SUMS = 5


@dataclass(frozen=True)
class GatedDelta:
    """H heads of V values, and ``key_heads`` of K keys and queries, each of which serves H / ``key_heads`` heads.

    ``rate`` and ``shift`` ``[1, H]`` make a token's decay: g = -exp(rate) * softplus(a + shift).
    """

    heads: int
    key_heads: int
    key_width: int
    value_width: int
    rate: Values
    shift: Values

    @property
    def width(self) -> int:
        """Columns of queries, keys and values, side by side."""
        return 2 * self.key_heads * self.key_width + self.heads * self.value_width

    @property
    def state_shape(self) -> tuple[int, int]:
        """Of ``recurrent``."""
        return self.heads * self.value_width, self.key_width


@kernel
def gated_delta(delta: GatedDelta, *, decode: bool = False) -> tirx.PrimFunc:
    """Kernel ``o[n, H * V]``, float32; the state moves on by n tokens. Arguments: qkv ``[n, width]``, ba ``[n, 2 H]``
    (b before its sigmoid, and a), rate, shift, state, recurrent, o. 16 divides K.

    A workgroup has 32 rows of a head's state in registers, and goes through the tokens. The sums of a row are those of
    its four threads, over workgroup memory, whose halves take turns: so one barrier a token is enough.
    """
    keys, values, rows = delta.key_width, delta.value_width, THREADS // _LANES
    if keys % (4 * _LANES):
        raise ValueError(f"keys of {keys}: not a multiple of {4 * _LANES}")
    quads = keys // 4 // _LANES
    k, n = KernelBuilder("gated_delta"), 1 if decode else dynamic("n")
    qkv = k.buffer("qkv", (n, delta.width), "float32")
    ba = k.buffer("ba", (n, 2 * delta.heads), "float32")
    rate, shift = delta.rate.bind(k, "rate"), delta.shift.bind(k, "shift")
    state = k.buffer("state", (State.WORDS,), "int32")
    recurrent = k.in_place("recurrent", delta.state_shape, "float32")
    o = k.output("o", (n, delta.heads * values), "float32")
    (wg, head), tid = k.launch([T.ceildiv(values, rows), delta.heads], THREADS)

    lane, inside = k.let(tid % _LANES, "lane"), k.let(wg * rows + tid // _LANES, "inside")
    present = inside < values
    row = k.let(head * values + T.min(inside, values - 1), "row")
    query = k.let(head // (delta.heads // delta.key_heads) * keys, "query")
    first_key, first_value = delta.key_heads * keys, 2 * delta.key_heads * keys
    s, q4, k4 = (k.local(quads, "float32x4", name=name) for name in ("s", "q4", "k4"))
    fresh = k.let(state[State.POSITION] == 0, "fresh")
    for i in range(quads):
        old = load4(recurrent, row, (i * _LANES + lane) * 4)
        k.store(s, i, select(fresh, splat(f32(0.0)), old))

    decay = k.local(1, name="decay")
    shared = k.shared(2 * _SUMS * THREADS, name="sums")
    with k.loop(n) as t:
        own = [splat(f32(0.0)) for _ in range(_SUMS)]
        for i in range(quads):
            k.store(q4, i, load4(qkv, t, query + (i * _LANES + lane) * 4))
            k.store(k4, i, load4(qkv, t, first_key + query + (i * _LANES + lane) * 4))
        # |k|², |q|², S k, S q, k q
        for j, (a, b) in enumerate(((k4, k4), (q4, q4), (s, k4), (s, q4), (k4, q4))):
            for i in range(quads):
                own[j] = own[j] + a[i] * b[i]
        half = k.let((t % 2) * (_SUMS * THREADS), "half")
        for j in range(_SUMS):
            k.store(shared, half + j * THREADS + tid, call("float32", "dot", own[j], splat(f32(1.0))))
        k.barrier()
        totals = k.local(_SUMS, name="totals")
        for j in range(_SUMS):
            at = half + j * THREADS + tid - lane
            k.store(totals, j, shared[at] + shared[at + 1] + shared[at + 2] + shared[at + 3])
        length = k.let(T.rsqrt(totals[0] + f32(EPSILON)), "length")
        scale = k.let(T.rsqrt(totals[1] + f32(EPSILON)) * f32(keys**-0.5), "scale")
        gate = k.let(_softplus(ba[t, delta.heads + head] + shift.one(k, 0, head)), "gate")
        k.store(decay, 0, T.exp(f32(0.0) - T.exp(rate.one(k, 0, head)) * gate))
        beta = k.let(f32(1.0) / (f32(1.0) + T.exp(f32(0.0) - ba[t, head])), "beta")
        value = k.let(qkv[t, first_value + row], "value")
        correction = k.local(1, name="correction")
        k.store(correction, 0, (value - decay[0] * length * totals[2]) * beta)
        with k.when(T.And(present, lane == 0)):
            k.store(o, [t, row], scale * (decay[0] * totals[3] + correction[0] * length * totals[4]))
        for i in range(quads):
            k.store(s, i, s[i] * splat(decay[0]) + k4[i] * splat(correction[0] * length))
    with k.when(present):
        for i in range(quads):
            k.store(recurrent, [row, ramp4((i * _LANES + lane) * 4)], s[i])
    return k.finish()


def _softplus(x: Expr) -> Expr:
    """log(1 + exp(x)), which is x where exp would overflow."""
    return T.max(x, f32(0.0)) + T.log(f32(1.0) + T.exp(f32(0.0) - call("float32", "abs", x)))
