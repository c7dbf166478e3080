"""Samples on the GPU in two launches: a pass over the vocabulary in parallel, then one workgroup that decides.

Greedy takes the largest logit (the lowest id among equals). Temperature alone is the Gumbel-max trick, done in the
first pass. top_k and top_p need no sort: the smallest kept logit is found by bisection over the float's ordered
bits, counting (top_k) or weighing (top_p, of what top_k kept) what is above; logits equal to it are all kept.
"""

from collections.abc import Callable

from tvm import tirx

from mlcweb.contract.constants import Sampling, State
from mlcweb.kernels.language.builder import KernelBuilder, bits, f32, kernel, lane, load4, select, u32
from mlcweb.kernels.language.expr import Buffer, Expr, T

THREADS = 64
PICK_THREADS = 256
PER_THREAD = 16
SEGMENT = THREADS * PER_THREAD
_MINUS_INFINITY = -1.0e38
_BITS = 32


def segments(vocab: int) -> int:
    """Workgroups of the first launch."""
    return -(-vocab // SEGMENT)


def _gumbel(k: KernelBuilder, seed: Expr, step: Expr, index: Expr) -> Expr:
    """Standard Gumbel noise from (seed, step, index): two rounds of the murmur3 finalizer."""
    # in a register: TVM would inline a `let` into each of its uses, and the expression would double each time
    hash_ = k.local(1, "uint32", name="hash")
    mixed = T.Cast("uint32", index) * u32(0x9E3779B1) + T.Cast("uint32", step) * u32(0x85EBCA77)
    seeded = T.Cast("uint32", seed) * u32(0xC2B2AE3D) + u32(0x27D4EB2F)
    k.store(hash_, 0, T.bitwise_xor(mixed, seeded))
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        k.store(hash_, 0, T.bitwise_xor(hash_[0], T.shift_right(hash_[0], u32(shift))) * u32(factor))
    k.store(hash_, 0, T.bitwise_xor(hash_[0], T.shift_right(hash_[0], u32(16))))
    uniform = (T.Cast("float32", T.shift_right(hash_[0], u32(8))) + f32(0.5)) * f32(2.0**-24)
    return f32(0.0) - T.log(f32(0.0) - T.log(uniform))


class _Best:
    """The running best (score, id) of a thread; ties go to the lower id."""

    def __init__(self, k: KernelBuilder) -> None:
        self.k = k
        self.score, self.index = k.local(1, name="best"), k.local(1, "int32", name="best_id")
        k.store(self.score, 0, f32(_MINUS_INFINITY))
        k.store(self.index, 0, 0)

    def offer(self, score: Expr, index: Expr) -> None:
        """Take (score, index) if it is better."""
        better = T.Or(score > self.score[0], T.And(score == self.score[0], index < self.index[0]))
        with self.k.when(better):
            self.k.store(self.score, 0, score)
            self.k.store(self.index, 0, index)


def _reduce_best(k: KernelBuilder, tid: Expr, threads: int, best: _Best, scores: Buffer, ids: Buffer) -> None:
    """Leave the workgroup's best in thread 0's ``best``; ``scores`` and ``ids`` are shared, ``threads`` long."""
    k.store(scores, tid, best.score[0])
    k.store(ids, tid, best.index[0])
    width = threads
    while width > 1:
        step = min(4, width)
        width //= step
        k.barrier()
        with k.when(tid < width):
            for i in range(1, step):
                best.offer(scores[tid + i * width], ids[tid + i * width])
            k.store(scores, tid, best.score[0])
            k.store(ids, tid, best.index[0])


@kernel
def scan(vocab: int) -> tirx.PrimFunc:
    """Kernel: the best candidate and the largest logit of each segment of 1024 logits.

    Arguments: logits ``[1, V]``, sampling i32 ``[8]``, state i32 ``[8]``, best ``[segments]`` i32 (ids), scores
    ``[segments, 2]`` (the best's score; the largest logit).
    """
    k = KernelBuilder("scan")
    logits = k.buffer("logits", (1, vocab), "float32")
    sampling = k.buffer("sampling", (Sampling.WORDS,), "int32")
    state = k.buffer("state", (State.WORDS,), "int32")
    ids = k.output("ids", (segments(vocab),), "int32")
    scores = k.output("scores", (segments(vocab), 2), "float32")
    (segment,), tid = k.launch([segments(vocab)], THREADS)
    shared_scores, shared_ids = (
        k.shared(THREADS, name="block_scores"),
        k.shared(THREADS, "int32", name="block_ids"),
    )
    temperature = k.let(bits("float32", sampling[Sampling.TEMPERATURE]), "temperature")
    best, top = _Best(k), k.local(1, name="top")
    k.store(top, 0, f32(_MINUS_INFINITY))

    def consider(index: Expr, loaded: Expr) -> None:
        logit = k.let(loaded, "logit")
        k.store(top, 0, T.max(top[0], logit))
        score = k.local(1, name="score")
        k.store(score, 0, logit)
        with k.when(temperature > 0.0):
            noise = _gumbel(k, sampling[Sampling.SEED], state[State.STEP], index)
            k.store(score, 0, logit / temperature + noise)
        best.offer(score[0], index)

    with k.loop(PER_THREAD // 4) as i:
        first = k.let(segment * SEGMENT + (i * THREADS + tid) * 4, "first")
        if vocab % 4:  # no vectors, since the last would be past the end
            for c in range(4):
                with k.when(first + c < vocab):
                    consider(first + c, logits[0, first + c])
        else:
            with k.when(first < vocab):
                four = k.let(load4(logits, 0, first), "four")
                for c in range(4):
                    consider(first + c, lane(four, c))
    _reduce_best(k, tid, THREADS, best, shared_scores, shared_ids)
    k.barrier()
    k.store(shared_scores, tid, top[0])
    k.barrier()
    with k.when(tid == 0):
        with k.loop(THREADS - 1) as i:
            k.store(top, 0, T.max(top[0], shared_scores[i + 1]))
        k.store(ids, segment, best.index[0])
        k.store(scores, [segment, 0], best.score[0])
        k.store(scores, [segment, 1], top[0])
    return k.finish()


@kernel
def pick(vocab: int) -> tirx.PrimFunc:
    """Kernel: choose the token and advance ``state``.

    Arguments: logits ``[1, V]``, sampling, ids and scores of ``scan``, state i32 ``[8]`` (read and written): position
    += advance, advance = 1, step += 1, token = the choice.
    """
    k = KernelBuilder("pick")
    logits = k.buffer("logits", (1, vocab), "float32")
    sampling = k.buffer("sampling", (Sampling.WORDS,), "int32")
    ids = k.buffer("ids", (segments(vocab),), "int32")
    scores = k.buffer("scores", (segments(vocab), 2), "float32")
    state = k.in_place("state", (State.WORDS,), "int32")
    _, tid = k.launch([1], PICK_THREADS)
    sums, weights = k.shared(PICK_THREADS, "int32", name="counts"), k.shared(PICK_THREADS, name="masses")
    best = _Best(k)
    temperature = k.let(bits("float32", sampling[Sampling.TEMPERATURE]), "temperature")
    top_p = k.let(bits("float32", sampling[Sampling.TOP_P]), "top_p")
    top_k = k.let(sampling[Sampling.TOP_K], "top_k")
    by_count = k.let(T.And(top_k > 0, top_k < vocab), "by_count")
    by_mass = k.let(top_p < 1.0, "by_mass")
    filtered = k.let(T.And(temperature > 0.0, T.Or(by_count, by_mass)), "filtered")

    with k.when(T.Not(filtered)), k.loop(T.ceildiv(segments(vocab) - tid, PICK_THREADS)) as i:
        segment = k.let(i * PICK_THREADS + tid, "block")
        best.offer(scores[segment, 0], ids[segment])

    top = k.local(1, name="top")
    k.store(top, 0, f32(_MINUS_INFINITY))
    threshold, target = k.local(1, "uint32", name="threshold"), k.local(1, name="wanted")
    with k.when(filtered):
        with k.loop(segments(vocab)) as i:
            k.store(top, 0, T.max(top[0], scores[i, 1]))
        search = _Search(k, logits, vocab, tid, top, temperature, sums, weights)
        k.store(threshold, 0, u32(0))
        with k.when(by_count):
            k.store(threshold, 0, search.run(lambda count, mass: count >= top_k, u32(0)))
        with k.when(by_mass):
            _, mass_above = search.above(threshold[0])
            k.store(target, 0, T.max(top_p, f32(0.0)) * mass_above)
            k.store(threshold, 0, search.run(lambda count, mass: mass >= target[0], threshold[0]))
        # with top_p 0 nothing is enough to ask for: the best stays all the same
        k.store(threshold, 0, T.min(threshold[0], _ordered(k, top[0])))
        with k.loop(T.ceildiv(vocab - tid, PICK_THREADS)) as i:
            index = k.let(i * PICK_THREADS + tid, "index")
            logit = k.let(logits[0, index], "logit")
            with k.when(_ordered(k, logit) >= threshold[0]):
                score = k.local(1, name="score")
                k.store(
                    score,
                    0,
                    logit / temperature + _gumbel(k, sampling[Sampling.SEED], state[State.STEP], index),
                )
                best.offer(score[0], index)
    _reduce_best(k, tid, PICK_THREADS, best, weights, sums)
    with k.when(tid == 0):
        k.store(state, State.POSITION, state[State.POSITION] + state[State.ADVANCE])
        k.store(state, State.TOKEN, best.index[0])
        k.store(state, State.ADVANCE, 1)
        k.store(state, State.STEP, state[State.STEP] + 1)
    return k.finish()


def _ordered(k: KernelBuilder, value: Expr) -> Expr:
    """A float32's bits, as a uint32 that orders as the floats do."""
    raw = k.let(bits("uint32", value), "raw")
    flipped = T.bitwise_xor(raw, u32(0xFFFFFFFF))
    return k.let(
        select(T.shift_right(raw, u32(31)) == u32(1), flipped, T.bitwise_or(raw, u32(1 << 31))), "key"
    )


class _Search:
    """Counts and weighs the logits at or above a threshold, with the whole workgroup."""

    def __init__(
        self,
        k: KernelBuilder,
        logits: Buffer,
        vocab: int,
        tid: Expr,
        top: Buffer,
        temperature: Expr,
        counts: Buffer,
        masses: Buffer,
    ) -> None:
        self.k, self.logits, self.vocab, self.tid = k, logits, vocab, tid
        self.top, self.temperature, self.counts, self.masses = top, temperature, counts, masses
        self.count, self.mass = k.local(1, "int32", name="count"), k.local(1, name="mass")

    def above(self, threshold: Expr) -> tuple[Expr, Expr]:
        """(how many, their unnormalized probability) at or above ``threshold``, in every thread."""
        k, tid = self.k, self.tid
        k.store(self.count, 0, 0)
        k.store(self.mass, 0, f32(0.0))
        with k.loop(T.ceildiv(self.vocab - tid, PICK_THREADS)) as i:
            logit = k.let(self.logits[0, i * PICK_THREADS + tid], "logit")
            with k.when(_ordered(k, logit) >= threshold):
                k.store(self.count, 0, self.count[0] + 1)
                k.store(self.mass, 0, self.mass[0] + T.exp((logit - self.top[0]) / self.temperature))
        k.barrier()
        k.store(self.counts, tid, self.count[0])
        k.store(self.masses, tid, self.mass[0])
        k.barrier()
        # 16 threads add 16 each, then every thread adds the 16 sums: in the same order, so all agree
        with k.when(tid < 16):
            with k.loop(15) as i:
                k.store(self.count, 0, self.count[0] + self.counts[tid + (i + 1) * 16])
                k.store(self.mass, 0, self.mass[0] + self.masses[tid + (i + 1) * 16])
            k.store(self.counts, tid, self.count[0])
            k.store(self.masses, tid, self.mass[0])
        k.barrier()
        k.store(self.count, 0, 0)
        k.store(self.mass, 0, f32(0.0))
        with k.loop(16) as i:
            k.store(self.count, 0, self.count[0] + self.counts[i])
            k.store(self.mass, 0, self.mass[0] + self.masses[i])
        return self.count[0], self.mass[0]

    def run(self, enough: Callable[[Expr, Expr], Expr], floor: Expr) -> Expr:
        """The largest threshold, at least ``floor``, whose count and mass are ``enough``."""
        k = self.k
        bits_found = k.local(1, "uint32", name="found")
        k.store(bits_found, 0, u32(0))
        with k.loop(_BITS) as i:
            bit = T.shift_left(u32(1), T.Cast("uint32", _BITS - 1 - i))
            candidate = k.local(1, "uint32", name="candidate")
            k.store(candidate, 0, T.bitwise_or(bits_found[0], bit))
            count, mass = self.above(T.max(candidate[0], floor))
            with k.when(enough(count, mass)):
                k.store(bits_found, 0, candidate[0])
        return T.max(bits_found[0], floor)
