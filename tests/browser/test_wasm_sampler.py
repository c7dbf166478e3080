"""The host sampler in a real browser, against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlcweb.wasm.module import compile_object, link
from mlcweb.wasm.sampler import host_sample
from tests.support.browser.wasm_page import Wasm

VOCABS = [1, 5, 1000, 128256]
UNIFORMS = [0.0, 1e-6, 0.25, 0.5, 0.75, 0.999, float(np.nextafter(np.float32(1), np.float32(0)))]


@pytest.fixture(scope="module")
def wasm(gpu_page: Any) -> Wasm:
    return Wasm(gpu_page, link([compile_object({"host_sample": host_sample()})], ["host_sample"]))


class Sampled:
    """What one call left: the logits after penalties, the probabilities, and the token."""

    def __init__(self, arrays: list[np.ndarray]) -> None:
        self.logits, _, _, self.probs, token = arrays
        self.token = int(token[0])


def call(
    logits: np.ndarray,
    *,
    counts: np.ndarray | None = None,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
    min_p: float = 0.0,
    penalties: tuple[float, float, float] = (1.0, 0.0, 0.0),
    uniform: float = 0.5,
) -> tuple[str, list[Any]]:
    params = np.array([temperature, top_p, top_k, min_p, *penalties, uniform], np.float32)
    counts = np.zeros(logits.size, np.int32) if counts is None else counts
    probs = np.full(logits.size, np.nan, np.float32)
    return "host_sample", [logits, counts, params, probs, np.array([-1], np.int32), logits.size]


def sample(wasm: Wasm, logits: np.ndarray, **options: Any) -> Sampled:
    return Sampled(wasm.run([call(logits, **options)])[0])


def draw(logits: np.ndarray, scale: float = 4.0) -> np.ndarray:
    return (logits * scale).astype(np.float32)


def random(vocab: int, seed: int = 0) -> np.ndarray:
    return draw(np.random.default_rng(seed).standard_normal(vocab))


def filtered(
    logits: np.ndarray, temperature: float = 1.0, top_p: float = 1.0, top_k: int = 0, min_p: float = 0.0
) -> np.ndarray:
    """The distribution in float64: top_k, then top_p of what is left, then min_p; equals stay together."""
    p = np.exp((logits - logits.max()).astype(np.float64) / temperature)
    if 0 < top_k < p.size:
        p[p < np.sort(p)[-top_k]] = 0
    if top_p < 1:
        order = np.argsort(-p, kind="stable")
        before = np.cumsum(p[order]) - p[order]
        least = p[order[before < max(top_p, 1e-12) * p.sum()]].min()
        p[p < least] = 0
    p[p < min_p] = 0
    return p / p.sum()


@pytest.mark.parametrize("vocab", VOCABS)
def test_greedy(vocab: int, wasm: Wasm) -> None:
    logits = random(vocab)
    actual = sample(wasm, logits, temperature=0.0, uniform=0.99)
    assert actual.token == logits.argmax()
    assert actual.probs[actual.token] == 1 and actual.probs.sum() == 1
    np.testing.assert_array_equal(actual.logits, logits)


def test_greedy_takes_the_first_of_equals(wasm: Wasm) -> None:
    logits = np.full(50, -2.0, np.float32)
    logits[[30, 40]] = 1
    assert sample(wasm, logits, temperature=0.0).token == 30


@pytest.mark.parametrize("vocab", VOCABS)
@pytest.mark.parametrize("temperature", [0.05, 0.8, 1.0, 3.0])
def test_softmax_and_exp(vocab: int, temperature: float, wasm: Wasm) -> None:
    logits = random(vocab, 3)
    p = sample(wasm, logits, temperature=temperature).probs.astype(np.float64)
    assert p.sum() == pytest.approx(1, abs=1e-6)
    exact = ((logits - logits.max()) / np.float32(temperature)).astype(np.float64)
    normal = exact > -80
    np.testing.assert_allclose((p / p.max())[normal], np.exp(exact[normal]), rtol=1e-5)
    assert (p[exact < -100] == 0).all()


FILTERS = [
    {"top_p": 0.9},
    {"top_p": 0.1},
    {"top_k": 1},
    {"top_k": 40},
    {"min_p": 0.05},
    {"top_k": 50, "top_p": 0.8},
    {"top_k": 50, "top_p": 0.95, "min_p": 0.1, "temperature": 0.7},
    {"top_p": 0.9, "temperature": 2.0},
]


@pytest.mark.parametrize("vocab", VOCABS)
@pytest.mark.parametrize("options", FILTERS, ids=str)
def test_filters_keep_what_numpy_keeps(vocab: int, options: dict[str, Any], wasm: Wasm) -> None:
    logits = random(vocab, 5)
    expected = filtered(logits, **options)
    uniforms = UNIFORMS if vocab < 10_000 else UNIFORMS[-1:]
    results = [Sampled(r) for r in wasm.run([call(logits, **options, uniform=u) for u in uniforms])]
    first = results[0].probs
    assert ((first > 0) == (expected > 0)).all()
    np.testing.assert_allclose(first, expected, rtol=2e-5, atol=1e-9)
    order = np.cumsum(first.astype(np.float64))
    for u, actual in zip(uniforms, results, strict=True):
        np.testing.assert_array_equal(actual.probs, first)
        assert first[actual.token] > 0
        assert order[actual.token] - first[actual.token] - 1e-6 <= u <= order[actual.token] + 1e-6


def test_draws_are_the_inverse_of_the_cumulative_distribution(wasm: Wasm) -> None:
    logits = np.log(np.array([0.1, 0.2, 0.0001, 0.3, 0.3999], np.float32))
    uniforms = (0.0, 0.0999, 0.1001, 0.2999, 0.30005, 0.3002, 0.6, 0.61, 0.9999)
    tokens = [Sampled(r).token for r in wasm.run([call(logits, uniform=u) for u in uniforms])]
    assert tokens == [0, 0, 1, 1, 2, 3, 3, 4, 4]


@pytest.mark.parametrize("vocab", [1000, 128256])
def test_the_largest_uniform_never_draws_a_forbidden_token(vocab: int, wasm: Wasm) -> None:
    """However float32 rounds the sum: a token masked with -infinity, or all but impossible, is never the way out."""
    for seed in range(6):
        logits = random(vocab, seed) / 8
        logits[-(vocab // 3) :] = -np.inf
        logits[-1] = logits.max() - 86
        actual = sample(wasm, logits, uniform=UNIFORMS[-1])
        assert actual.token < vocab - vocab // 3
        assert (actual.probs[-(vocab // 3) : -1] == 0).all()


@pytest.mark.parametrize("options", [{"top_p": 0.0}, {"top_p": 1e-30}, {"min_p": 1.0}, {"top_k": 1}], ids=str)
def test_the_narrowest_filters_leave_the_best(options: dict[str, Any], wasm: Wasm) -> None:
    logits = random(300, 8)
    for uniform in UNIFORMS:
        actual = sample(wasm, logits, **options, uniform=uniform)
        assert actual.token == logits.argmax()
        assert actual.probs[actual.token] == 1 and actual.probs.sum() == 1


def test_equals_at_the_edge_stay_together(wasm: Wasm) -> None:
    logits = np.array([3, 1, 2, 2, 2, 0], np.float32)
    assert (sample(wasm, logits, top_k=2).probs > 0).tolist() == [True, False, True, True, True, False]


@pytest.mark.parametrize("penalties", [(1.3, 0.0, 0.0), (1.0, 0.5, 0.0), (1.0, 0.0, 0.7), (1.2, -0.3, 0.4)])
def test_penalties(penalties: tuple[float, float, float], wasm: Wasm) -> None:
    logits, rng = random(500, 2), np.random.default_rng(4)
    counts = (rng.integers(0, 4, 500) * (rng.random(500) < 0.5)).astype(np.int32)
    repetition, frequency, presence = (np.float32(p) for p in penalties)
    seen = counts > 0
    expected = np.where(logits > 0, logits / repetition, logits * repetition) - frequency * counts - presence
    expected = np.where(seen, expected, logits)
    actual = sample(wasm, logits, counts=counts, penalties=penalties, temperature=0.9, uniform=0.3)
    np.testing.assert_allclose(actual.logits, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(actual.logits[~seen], logits[~seen])
    np.testing.assert_allclose(actual.probs, filtered(expected, temperature=0.9), rtol=1e-4, atol=1e-9)
    greedy = sample(wasm, logits, counts=counts, penalties=penalties, temperature=0.0)
    assert greedy.token == expected.argmax()


def test_calls_do_not_remember(wasm: Wasm) -> None:
    logits = random(1000, 6)
    a, _, c = wasm.run(
        [
            call(logits, top_k=5, uniform=0.4),
            call(-logits, temperature=2.0),
            call(logits, top_k=5, uniform=0.4),
        ]
    )
    for first, again in zip(a, c, strict=True):
        np.testing.assert_array_equal(first, again)
