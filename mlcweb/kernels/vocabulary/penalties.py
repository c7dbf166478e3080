"""Makes tokens that the answer has less likely, before one is sampled, and counts the one that was."""

from tvm import tirx

from mlcweb.contract.constants import Sampling, State
from mlcweb.kernels.language.builder import KernelBuilder, bits, kernel, select
from mlcweb.kernels.language.expr import T

THREADS = 256


@kernel
def penalize_logits(vocab: int) -> tirx.PrimFunc:
    """Kernel: ``logits`` of the tokens that are counted: a positive one is divided by the repetition penalty, another
    multiplied by it; then count times the frequency penalty and the presence penalty are taken away.

    Arguments: sampling i32 ``[8]``, counts i32 ``[V]``, logits ``[1, V]``, in place. As ``wasm.sampler`` does it.
    """
    k = KernelBuilder("penalize_logits")
    sampling = k.buffer("sampling", (Sampling.WORDS,), "int32")
    counts = k.buffer("counts", (vocab,), "int32")
    logits = k.in_place("logits", (1, vocab), "float32")
    (block,), tid = k.launch([T.ceildiv(vocab, THREADS)], THREADS)
    token = k.let(block * THREADS + tid, "token")
    with k.when(token < vocab):
        count = k.let(counts[token], "count")
        with k.when(count > 0):
            logit = k.let(logits[0, token], "logit")
            repetition = k.let(bits("float32", sampling[Sampling.REPETITION_PENALTY]), "repetition")
            often = bits("float32", sampling[Sampling.FREQUENCY_PENALTY]) * T.Cast("float32", count)
            penalized = select(logit > 0.0, logit / repetition, logit * repetition)
            presence = bits("float32", sampling[Sampling.PRESENCE_PENALTY])
            k.store(logits, [0, token], penalized - often - presence)
    return k.finish()


@kernel
def count_token(vocab: int) -> tirx.PrimFunc:
    """Kernel: one more of the token in ``state``. Arguments: state i32 ``[8]``, counts i32 ``[V]``, in place."""
    k = KernelBuilder("count_token")
    state = k.buffer("state", (State.WORDS,), "int32")
    counts = k.in_place("counts", (vocab,), "int32")
    _, tid = k.launch([1], 32)
    token = k.let(state[State.TOKEN], "token")
    with k.when(T.And(tid == 0, T.And(token >= 0, token < vocab))):
        k.store(counts, token, counts[token] + 1)
    return k.finish()
