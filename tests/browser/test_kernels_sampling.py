"""Sampling on the GPU: greedy exactly, and draws that follow the filtered distribution."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from mlcweb.kernels.choice.tier import BASE
from mlcweb.kernels.vocabulary.mask import FORBIDDEN, mask_logits, mask_words
from mlcweb.kernels.vocabulary.penalties import count_token, penalize_logits
from mlcweb.kernels.vocabulary.sampling import pick, scan, segments
from mlcweb.lower import LoweredKernel, lower_kernel
from tests.support.browser.kernel_page import run_lowered


def bits(value: float) -> int:
    return int(np.float32(value).view(np.int32))


@cache
def kernels(vocab: int) -> tuple[LoweredKernel, LoweredKernel]:
    return lower_kernel("scan", scan(vocab), BASE), lower_kernel("pick", pick(vocab), BASE)


def sample(
    page: Any, logits: np.ndarray, temperature: float, top_p: float, top_k: int, seed: int, step: int
) -> np.ndarray:
    """The state after one sampled step that began as [10, 0, 5, step]."""
    vocab = logits.shape[1]
    scan_, pick_ = kernels(vocab)
    sampling = np.array([bits(temperature), bits(top_p), top_k, seed, 0, 0, 0, 0], np.int32)
    state = np.array([10, 0, 5, step, 0, 0, 0, 0], np.int32)
    ids, scores = np.zeros(segments(vocab), np.int32), np.zeros((segments(vocab), 2), np.float32)
    *_, ids, scores = run_lowered(page, scan_, BASE, [logits, sampling, state, ids, scores])
    return run_lowered(page, pick_, BASE, [logits, sampling, ids, scores, state])[-1]


def distribution(logits: np.ndarray, temperature: float, top_p: float, top_k: int) -> np.ndarray:
    p = np.exp((logits[0] - logits.max()).astype(np.float64) / temperature)
    if top_k:
        p[p < np.sort(p)[-top_k]] = 0
    order = np.argsort(-p, kind="stable")
    nucleus = np.cumsum(p[order]) - p[order] < top_p * p.sum()
    p[order[~nucleus]] = 0
    return p / p.sum()


GREEDY = [*(("stock", vocab) for vocab in (1, 4, 1000, 1025, 49152)), ("f16", 50257)]


@pytest.mark.parametrize(("browser", "vocab"), GREEDY)
def test_greedy_takes_the_largest_and_advances_the_state(kernel_page: Any, vocab: int) -> None:
    logits = np.random.default_rng(vocab).standard_normal((1, vocab)).astype(np.float32)
    state = sample(kernel_page, logits, 0.0, 1.0, 0, 1, 7)
    assert state.tolist() == [15, int(logits.argmax()), 1, 8, 0, 0, 0, 0]


@pytest.mark.parametrize(("browser", "vocab"), [("stock", 1), ("stock", 3), ("f16", 1025), ("stock", 50257)])
def test_the_last_token_can_be_drawn_and_none_after_it(kernel_page: Any, vocab: int) -> None:
    """Negative logits, so that a zero past the end would win; by each of the three ways to draw."""
    logits = np.full((1, vocab), -60, np.float32)
    logits[0, -1] = -30
    for top_p, top_k in ((1.0, 0), (0.5, 0), (1.0, 2)):
        assert sample(kernel_page, logits, 1.0, top_p, top_k, 5, 1)[1] == vocab - 1


def test_greedy_takes_the_lowest_id_among_equals(gpu_page: Any) -> None:
    logits = np.full((1, 4096), -3.0, np.float32)
    logits[0, [3000, 1777, 1778]] = 2.5
    assert sample(gpu_page, logits, 0.0, 1.0, 0, 1, 0)[1] == 1777


@pytest.mark.parametrize(
    ("temperature", "top_p", "top_k"),
    [(1.0, 1.0, 0), (1.0, 1.0, 5), (1.0, 0.5, 0), (0.7, 0.9, 20), (2.0, 0.9, 0)],
)
def test_draws_follow_the_filtered_distribution(
    gpu_page: Any, temperature: float, top_p: float, top_k: int
) -> None:
    logits = (np.random.default_rng(1).standard_normal((1, 201)) * 3).astype(np.float32)
    expected = distribution(logits, temperature, top_p, top_k)
    draws = [int(sample(gpu_page, logits, temperature, top_p, top_k, 42, step)[1]) for step in range(150)]
    assert all(expected[token] > 0 for token in draws)
    # the largest gap of the two cumulative distributions (Kolmogorov-Smirnov): 1.63/sqrt(n) at 1%
    actual = np.bincount(draws, minlength=201) / len(draws)
    assert np.abs(np.cumsum(actual - expected)).max() < 1.63 / np.sqrt(len(draws))


def test_a_seed_repeats_and_another_differs(gpu_page: Any) -> None:
    logits = np.zeros((1, 1000), np.float32)
    first = [int(sample(gpu_page, logits, 1.0, 1.0, 0, 9, step)[1]) for step in range(6)]
    again = [int(sample(gpu_page, logits, 1.0, 1.0, 0, 9, step)[1]) for step in range(6)]
    other = [int(sample(gpu_page, logits, 1.0, 1.0, 0, 10, step)[1]) for step in range(6)]
    assert first == again != other
    assert len(set(first)) > 3


@pytest.mark.parametrize(("top_p", "top_k"), [(0.0, 0), (1e-30, 0), (1.0, 1), (0.0, 7)])
def test_the_narrowest_filters_leave_the_best(gpu_page: Any, top_p: float, top_k: int) -> None:
    logits = (np.random.default_rng(0).standard_normal((1, 1000)) * 3).astype(np.float32)
    actual = {int(sample(gpu_page, logits, 1.0, top_p, top_k, 1, step)[1]) for step in range(3)}
    assert actual == {int(logits.argmax())}


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_a_masked_token_is_never_drawn(gpu_page: Any, top_p: float) -> None:
    logits = (np.random.default_rng(2).standard_normal((1, 400)) / 4).astype(np.float32)
    logits[0, 10:] = -np.inf
    assert all(sample(gpu_page, logits, 1.5, top_p, 0, 3, step)[1] < 10 for step in range(8))


def masked(page: Any, logits: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """The logits after a mask with a bit for each token that is allowed."""
    vocab = logits.shape[1]
    bits_ = np.zeros(32 * mask_words(vocab), np.uint8)
    bits_[:vocab] = allowed
    mask = np.packbits(bits_, bitorder="little").view(np.uint32)
    kernel = lower_kernel("mask", mask_logits(vocab), BASE)
    return run_lowered(page, kernel, BASE, [mask, logits])[-1]


MASKED = [*(("stock", vocab) for vocab in (1, 31, 32, 33, 257, 49152)), ("f16", 262144)]


@pytest.mark.parametrize(("browser", "vocab"), MASKED)
def test_a_mask_forbids_the_tokens_without_a_bit_and_no_others(kernel_page: Any, vocab: int) -> None:
    rng = np.random.default_rng(vocab)
    logits = rng.standard_normal((1, vocab)).astype(np.float32)
    allowed = rng.random(vocab) < 0.3
    expected = np.where(allowed, logits, np.float32(FORBIDDEN))
    np.testing.assert_array_equal(masked(kernel_page, logits, allowed), expected)


@pytest.mark.parametrize(
    ("temperature", "top_p", "top_k"),
    [(0.0, 1.0, 0), (0.1, 1.0, 0), (2.0, 1.0, 0), (1.0, 0.9, 0), (1.0, 1.0, 40), (0.5, 0.0, 3)],
)
def test_a_forbidden_token_is_never_drawn(
    gpu_page: Any, temperature: float, top_p: float, top_k: int
) -> None:
    """Also where the allowed ones are so unlikely that nothing else would choose them, and fewer than top_k."""
    logits = np.random.default_rng(3).standard_normal((1, 2048)).astype(np.float32) * 5 + 20
    allowed = np.zeros(2048, bool)
    allowed[[0, 77, 2047]] = True
    logits[0, allowed] = -50
    logits = masked(gpu_page, logits, allowed)
    drawn = {int(sample(gpu_page, logits, temperature, top_p, top_k, seed, 1)[1]) for seed in range(12)}
    assert drawn <= {0, 77, 2047}
    assert len(drawn) > 1 or temperature == 0.0 or top_p == 0.0


@pytest.mark.parametrize(("browser", "vocab"), [("stock", 1), ("stock", 300), ("f16", 49153)])
@pytest.mark.parametrize("penalties", [(1.3, 0.0, 0.0), (0.8, 0.5, -0.25), (1.0, -1.5, 2.0), (1.0, 0.0, 0.0)])
def test_penalties_are_of_counted_tokens_alone(
    kernel_page: Any, vocab: int, penalties: tuple[float, float, float]
) -> None:
    rng = np.random.default_rng(vocab)
    logits = (rng.standard_normal((1, vocab)) * 4).astype(np.float32)
    counts = (rng.integers(0, 4, vocab) * (rng.random(vocab) < 0.4)).astype(np.int32)
    sampling = np.array([0, 0, 0, 0, *(bits(value) for value in penalties), 0], np.int32)
    repetition, frequency, presence = penalties
    penalized = np.where(logits > 0, logits / np.float32(repetition), logits * np.float32(repetition))
    expected = np.where(counts > 0, penalized - frequency * counts - presence, logits)
    kernel = lower_kernel("penalize", penalize_logits(vocab), BASE)
    actual = run_lowered(kernel_page, kernel, BASE, [sampling, counts, logits])[-1]
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(actual[0, counts == 0], logits[0, counts == 0])


def test_the_token_in_the_state_is_counted(gpu_page: Any) -> None:
    counts = np.arange(70, dtype=np.int32)
    for token in (0, 69, 33):
        state = np.array([10, token, 1, 3, 0, 0, 0, 0], np.int32)
        kernel = lower_kernel("count", count_token(70), BASE)
        actual = run_lowered(gpu_page, kernel, BASE, [state, counts])[-1]
        np.testing.assert_array_equal(actual, counts + (np.arange(70) == token))
