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
    exp,
    f32,
    kernel,
    load4,
    log,
    ramp4,
    select,
    splat,
)
from mlcweb.kernels.language.expr import Buffer, Expr, Index, T
from mlcweb.kernels.layouts.storage import Values, ValuesReader

THREADS = 128
LANES = 4  # threads that share a row of the state
ROWS = THREADS // LANES  # of a workgroup
EPSILON = 1e-6  # of the lengths
_SUMS = 5


@dataclass(frozen=True)
class GatedDelta:
    """H heads of V values, and ``key_heads`` of K keys and queries, each of which serves H / ``key_heads`` heads.

    ``rate`` and ``shift`` ``[1, H]`` make a token's decay: g = -exp(rate) * softplus(a + shift). Raises ValueError
    where 16 does not divide K.
    """

    heads: int
    key_heads: int
    key_width: int
    value_width: int
    rate: Values
    shift: Values

    def __post_init__(self) -> None:
        if self.key_width % (4 * LANES):
            raise ValueError(f"keys of {self.key_width}: not a multiple of {4 * LANES}")

    @property
    def width(self) -> int:
        """Columns of queries, keys and values, side by side."""
        return 2 * self.key_heads * self.key_width + self.heads * self.value_width

    @property
    def state_shape(self) -> tuple[int, int]:
        """Of ``recurrent``."""
        return self.heads * self.value_width, self.key_width

    def first_query(self, head: Expr) -> Expr:
        """The first column of a head's queries."""
        return head // (self.heads // self.key_heads) * self.key_width

    def first_key(self, head: Expr) -> Expr:
        """The first column of a head's keys."""
        return self.first_query(head) + self.key_heads * self.key_width

    @property
    def quads(self) -> int:
        """Fours of a row of the state that a thread has."""
        return self.key_width // 4 // LANES


@kernel
def gated_delta(delta: GatedDelta) -> tirx.PrimFunc:
    """Kernel ``o[1, H * V]``, float32, of one token; the state moves on. Arguments: qkv ``[1, width]``, ba
    ``[1, 2 H]`` (b before its sigmoid, and a), rate, shift, state, recurrent, o. A workgroup has 32 rows of a head's
    state.
    """
    k = KernelBuilder("gated_delta")
    qkv = k.buffer("qkv", (1, delta.width), "float32")
    ba = k.buffer("ba", (1, 2 * delta.heads), "float32")
    rate, shift = delta.rate.bind(k, "rate"), delta.shift.bind(k, "shift")
    state = k.buffer("state", (State.WORDS,), "int32")
    recurrent = k.in_place("recurrent", delta.state_shape, "float32")
    o = k.output("o", (1, delta.heads * delta.value_width), "float32")
    (wg, head), tid = k.launch([T.ceildiv(delta.value_width, ROWS), delta.heads], THREADS)

    lane = k.let(tid % LANES, "lane")
    inside = k.let(wg * ROWS + tid // LANES, "inside")
    present = inside < delta.value_width
    row = k.let(head * delta.value_width + T.min(inside, delta.value_width - 1), "row")
    query, key = k.let(delta.first_query(head), "query"), k.let(delta.first_key(head), "key")
    s = load_state(k, delta, recurrent, state, row, lane)
    q4, k4 = (k.local(delta.quads, "float32x4", name=name) for name in ("q4", "k4"))
    for i in range(delta.quads):
        k.store(q4, i, load4(qkv, 0, query + (i * LANES + lane) * 4))
        k.store(k4, i, load4(qkv, 0, key + (i * LANES + lane) * 4))

    shared = k.shared(_SUMS * THREADS, name="sums")
    # |k|², |q|², S k, S q, k q
    for j, (a, b) in enumerate(((k4, k4), (q4, q4), (s, k4), (s, q4), (k4, q4))):
        own = splat(f32(0.0))
        for i in range(delta.quads):
            own = own + a[i] * b[i]
        k.store(shared, j * THREADS + tid, call("float32", "dot", own, splat(f32(1.0))))
    k.barrier()
    totals = k.local(_SUMS, name="totals")
    for j in range(_SUMS):
        at = j * THREADS + tid - lane
        k.store(totals, j, shared[at] + shared[at + 1] + shared[at + 2] + shared[at + 3])
    length = k.let(T.rsqrt(totals[0] + f32(EPSILON)), "length")
    scale = k.let(T.rsqrt(totals[1] + f32(EPSILON)) * f32(delta.key_width**-0.5), "scale")
    decay = k.let(exp(log_decay_of(k, delta, ba, rate, shift, 0, head)), "decay")
    value = load_value(k, delta, qkv, 0, row)
    correction = k.let((value - decay * length * totals[2]) * beta_of(ba, 0, head), "correction")
    with k.when(T.And(present, lane == 0)):
        k.store(o, [0, row], scale * (decay * totals[3] + correction * length * totals[4]))
    for i in range(delta.quads):
        k.store(s, i, s[i] * splat(decay) + k4[i] * splat(correction * length))
    store_state(k, delta, recurrent, row, lane, present, s)
    return k.finish()


def load_state(
    k: KernelBuilder, delta: GatedDelta, recurrent: Buffer, state: Buffer, row: Expr, lane: Expr
) -> Buffer:
    """A thread's fours of a row of the recurrent state, in registers; zeros at position 0."""
    s, fresh = k.local(delta.quads, "float32x4", name="s"), k.let(state[State.POSITION] == 0, "fresh")
    for i in range(delta.quads):
        old = load4(recurrent, row, (i * LANES + lane) * 4)
        k.store(s, i, select(fresh, splat(f32(0.0)), old))
    return s


def store_state(
    k: KernelBuilder, delta: GatedDelta, recurrent: Buffer, row: Expr, lane: Expr, present: Expr, s: Buffer
) -> None:
    """Write them back, where the row is ``present``."""
    with k.when(present):
        for i in range(delta.quads):
            k.store(recurrent, [row, ramp4((i * LANES + lane) * 4)], s[i])


def load_value(k: KernelBuilder, delta: GatedDelta, qkv: Buffer, token: Index, row: Expr) -> Expr:
    """v of a token for a row of the state: of four, since qkv is read in fours elsewhere."""
    start = 2 * delta.key_heads * delta.key_width
    four = k.let(load4(qkv, token, start + row // 4 * 4), "four")
    one = [T.Shuffle([four], [i]) for i in range(4)]
    low, high = (select(row % 2 == 0, one[i], one[i + 1]) for i in (0, 2))
    return k.let(select(row % 4 < 2, low, high), "value")


def log_decay_of(
    k: KernelBuilder,
    delta: GatedDelta,
    ba: Buffer,
    rate: ValuesReader,
    shift: ValuesReader,
    token: Index,
    head: Expr,
) -> Expr:
    """g of a token."""
    gate = k.let(_softplus(ba[token, delta.heads + head] + shift.one(k, 0, head)), "gate")
    return f32(0.0) - exp(rate.one(k, 0, head)) * gate


def beta_of(ba: Buffer, token: Index, head: Expr) -> Expr:
    """b of a token, after its sigmoid."""
    return f32(1.0) / (f32(1.0) + exp(f32(0.0) - ba[token, head]))


def _softplus(x: Expr) -> Expr:
    """log(1 + exp(x)), which is x where exp would overflow."""
    return T.max(x, f32(0.0)) + log(f32(1.0) + exp(f32(0.0) - call("float32", "abs", x)))
