"""Builds the host sampler: penalties, temperature, top-k, top-p and min-p over logits in Wasm memory.

For requests that need the CPU to see or change the logits; others are sampled on the GPU.
"""

import math
from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.contract.constants import HostSample
from mlcweb.kernels.language.builder import KernelBuilder, bits, f32, kernel, select, u32

_SMALLEST = -126 * math.log(2)
_BITS = 31  # probabilities are not negative, so their bits order as integers and the sign bit is 0


@kernel
def host_sample() -> tirx.PrimFunc:
    """``void host_sample(float* logits, int* counts, float* params, float* probs, int* token, int vocab)``.

    See docs/bundle-format.md. top_k is applied first, then top_p to what is left, then min_p; candidates equal to
    the last one kept are kept too.
    """
    k = KernelBuilder("host_sample")
    names = (("logits", "float32"), ("counts", "int32"), ("params", "float32"), ("probs", "float32"))
    pointers = [k.pointer(name, dtype) for name, dtype in names]
    token_pointer = k.pointer("token", "int32")
    vocab = k.scalar("vocab")
    logits = k.at(pointers[0], (vocab,), "float32")
    counts = k.at(pointers[1], (vocab,), "int32")
    params = k.at(pointers[2], (HostSample.WORDS,), "float32")
    probs = k.at(pointers[3], (vocab,), "float32")
    token = k.at(token_pointer, (1,), "int32")

    top = k.local(1, name="top")
    k.store(top, 0, f32(-3.0e38))
    k.store(token, 0, 0)
    with k.loop(vocab) as i:
        with k.when(counts[i] > 0):
            repeated = params[HostSample.REPETITION_PENALTY]
            penalized = select(logits[i] > 0.0, logits[i] / repeated, logits[i] * repeated)
            often = params[HostSample.FREQUENCY_PENALTY] * T.Cast("float32", counts[i])
            k.store(logits, i, penalized - often - params[HostSample.PRESENCE_PENALTY])
        with k.when(logits[i] > top[0]):
            k.store(top, 0, logits[i])
            k.store(token, 0, i)
    with k.when(params[HostSample.TEMPERATURE] <= 0.0), k.loop(vocab) as i:
        k.store(probs, i, select(i == token[0], f32(1.0), f32(0.0)))
    with k.when(params[HostSample.TEMPERATURE] > 0.0):
        with k.loop(vocab) as i:
            _exp(k, probs, i, (logits[i] - top[0]) / params[HostSample.TEMPERATURE])
        _draw(k, probs, params, token, vocab)
    return k.finish()


def _exp(k: KernelBuilder, out: Any, index: Any, x: Any) -> None:
    """``out[index] = exp(x)`` for x ≤ 0: 2^n · 2^f, with 2^f's Taylor polynomial, f in [-1/2, 1/2].

    0 under 2^-126: a logit of -infinity, which forbids a token, must leave it no chance at all.
    """
    scaled = k.local(1, name="scaled")
    whole = k.local(1, "int32", name="whole")
    k.store(scaled, 0, T.max(x * f32(math.log2(math.e)), f32(-126.0)))
    k.store(whole, 0, T.Cast("int32", scaled[0] - f32(0.5)))  # truncates toward 0: rounds, for x ≤ 0
    k.store(scaled, 0, (scaled[0] - T.Cast("float32", whole[0])) * f32(math.log(2)))
    result = k.local(1, name="result")
    k.store(result, 0, f32(1 / math.factorial(7)))
    for degree in range(6, -1, -1):
        k.store(result, 0, result[0] * scaled[0] + f32(1 / math.factorial(degree)))
    power = bits("float32", T.shift_left(T.Cast("uint32", whole[0] + 127), u32(23)))
    k.store(out, index, select(x < f32(_SMALLEST), f32(0.0), result[0] * power))


def _draw(k: KernelBuilder, probs: Any, params: Any, token: Any, vocab: Any) -> None:
    """Filter, normalize and draw from the unnormalized ``probs``, whose largest is 1."""
    threshold, count = k.local(1, "uint32", name="threshold"), k.local(1, "int32", name="count")
    # sums are float64: in float32, 128,000 probabilities one after the other are off by 2e-4
    mass, target = k.local(1, "float64", name="mass"), k.local(1, "float64", name="wanted")

    def above(floor: Any) -> None:
        k.store(count, 0, 0)
        k.store(mass, 0, _f64(0.0))
        with k.loop(vocab) as i, k.when(bits("uint32", probs[i]) >= floor):
            k.store(count, 0, count[0] + 1)
            k.store(mass, 0, mass[0] + _f64(probs[i]))

    def search(enough: Any) -> None:
        bits_found, candidate = k.local(1, "uint32", name="found"), k.local(1, "uint32", name="candidate")
        k.store(bits_found, 0, u32(0))
        with k.loop(_BITS) as i:
            bit = T.shift_left(u32(1), T.Cast("uint32", _BITS - 1 - i))
            k.store(candidate, 0, T.bitwise_or(bits_found[0], bit))
            above(T.max(candidate[0], threshold[0]))
            with k.when(enough()):
                k.store(bits_found, 0, candidate[0])
        k.store(threshold, 0, T.max(bits_found[0], threshold[0]))

    k.store(threshold, 0, u32(0))
    top_k = T.Cast("int32", params[HostSample.TOP_K])
    with k.when(T.And(top_k > 0, top_k < vocab)):
        search(lambda: count[0] >= top_k)
    with k.when(params[HostSample.TOP_P] < 1.0):
        above(threshold[0])
        k.store(target, 0, mass[0] * _f64(T.max(params[HostSample.TOP_P], f32(0.0))))
        search(lambda: mass[0] >= target[0])
    with k.when(params[HostSample.MIN_P] > 0.0):
        k.store(threshold, 0, T.max(threshold[0], bits("uint32", params[HostSample.MIN_P])))
    # the largest is exactly 1: at least it stays, also with top_p 0
    k.store(threshold, 0, T.min(threshold[0], bits("uint32", f32(1.0))))
    above(threshold[0])
    # the token is drawn where the sum, added up in mass's order, first exceeds u * mass: since u < 1 there is such a
    # token, however the sum was rounded
    drawn, total = k.local(1, "int32", name="drawn"), k.local(1, "float64", name="total")
    k.store(target, 0, _f64(params[HostSample.RANDOM]) * mass[0])
    k.store(drawn, 0, 0)
    k.store(total, 0, _f64(0.0))
    with k.loop(vocab) as i:
        with k.when(bits("uint32", probs[i]) < threshold[0]):
            k.store(probs, i, f32(0.0))
        k.store(total, 0, total[0] + _f64(probs[i]))
        with k.when(T.And(drawn[0] == 0, total[0] > target[0])):
            k.store(token, 0, i)
            k.store(drawn, 0, 1)
        k.store(probs, i, T.Cast("float32", _f64(probs[i]) / mass[0]))


def _f64(value: Any) -> Any:
    return tirx.const(value, "float64") if isinstance(value, float) else T.Cast("float64", value)
