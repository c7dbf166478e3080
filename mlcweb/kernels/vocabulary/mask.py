"""Forbids the tokens that a constrained answer must not go on with, before one is sampled."""

from tvm import tirx

from mlcweb.kernels.language.builder import KernelBuilder, f32, kernel, u32
from mlcweb.kernels.language.expr import T

THREADS = 256
WORD_BITS = 32
FORBIDDEN = -1.0e38  # less than any logit; a temperature below 1 makes it -infinity, which sampling bears


def mask_words(vocab: int) -> int:
    """Words of the mask of ``vocab`` tokens."""
    return -(-vocab // WORD_BITS)


@kernel
def mask_logits(vocab: int) -> tirx.PrimFunc:
    """Kernel: ``logits[t]`` becomes ``FORBIDDEN`` where the mask has no bit for token t.

    Arguments: mask u32 ``[ceil(V / 32)]``, bit t % 32 of word t // 32 for token t (the layout of xgrammar's and
    llguidance's bitmasks); logits ``[1, V]``, in place.
    """
    k = KernelBuilder("mask_logits")
    mask = k.buffer("mask", (mask_words(vocab),), "uint32")
    logits = k.in_place("logits", (1, vocab), "float32")
    (block,), tid = k.launch([T.ceildiv(vocab, THREADS)], THREADS)
    token = k.let(block * THREADS + tid, "token")
    with k.when(token < vocab):
        bit = T.Cast("uint32", T.bitwise_and(token, WORD_BITS - 1))
        allowed = T.bitwise_and(T.shift_right(mask[T.shift_right(token, 5)], bit), u32(1))
        with k.when(allowed == u32(0)):
            k.store(logits, [0, token], f32(FORBIDDEN))
    return k.finish()
