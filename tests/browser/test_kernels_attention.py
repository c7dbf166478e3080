"""RoPE, the paged KV cache and both attentions against numpy in float64, for every tier and head size."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mlcweb.kernels.attention_prefill import rope_append
from mlcweb.kernels.cache import PAGE_SIZE, HeadLayout, rope_tables
from mlcweb.kernels.choose import attend, flash_attention, merge, splits
from mlcweb.kernels.tier import TIERS, Tier
from tests.browser.kernel_page import run_kernel

CONTEXT = 1024


@pytest.fixture
def page(request: pytest.FixtureRequest, tier: Tier) -> Any:
    return request.getfixturevalue("f16_gpu_page" if tier.f16 else "gpu_page")


def rotate(x: np.ndarray, positions: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Hugging Face's rotate_half on x [n, heads, D]."""
    angle = positions[:, None, None] * frequencies
    cosine, sine = np.cos(angle), np.sin(angle)
    low, high = np.split(x, 2, axis=-1)
    return np.concatenate([low * cosine - high * sine, high * cosine + low * sine], -1)


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, start: int) -> np.ndarray:
    n, heads, d = q.shape
    out = np.zeros((n, heads, d))
    for h in range(heads):
        kv_head = h // (heads // k.shape[1])
        scores = q[:, h] @ k[:, kv_head].T / math.sqrt(d)
        scores[np.arange(len(k))[None] > start + np.arange(n)[:, None]] = -np.inf
        weights = np.exp(scores - scores.max(1, keepdims=True))
        out[:, h] = weights / weights.sum(1, keepdims=True) @ v[:, kv_head]
    return out.reshape(n, heads * d)


class Case:
    """A context of ``start`` cached tokens and ``n`` new ones, on shuffled pages."""

    def __init__(self, heads: int, kv_heads: int, d: int, start: int, n: int, tier: Tier) -> None:
        rng = np.random.default_rng(start * 1000 + n + d)
        self.layout = HeadLayout(heads, kv_heads, d, CONTEXT // PAGE_SIZE)
        frequencies = 1e4 ** (-np.arange(0, d, 2) / d)
        self.coarse, self.fine = rope_tables(frequencies, CONTEXT)
        self.table = rng.permutation(self.layout.pages).astype(np.int32)
        self.state = np.array([start, 0, 0, 0, 0, 0, 0, 0], np.int32)
        total = start + n
        self.keys = rotate(keys := rng.standard_normal((total, kv_heads, d)), np.arange(total), frequencies)
        self.values = rng.standard_normal((total, kv_heads, d))
        queries = rng.standard_normal((n, heads, d)) * 3
        rotated = rotate(queries, start + np.arange(n), frequencies)
        self.expected = attention(rotated, self.keys, self.values, start)
        new = (queries, keys[start:], self.values[start:])
        self.qkv = np.concatenate([part.reshape(n, -1) for part in new], 1).astype(np.float32)
        self.before = self._cache(start, tier)
        self.after = self._cache(total, tier)

    def _cache(self, tokens: int, tier: Tier) -> np.ndarray:
        d = self.layout.head_dim
        kv = np.zeros(self.layout.page_shape, tier.kv_dtype)
        for t in range(tokens):
            page, slot = self.table[t // PAGE_SIZE], t % PAGE_SIZE
            for h in range(self.layout.kv_heads):
                kv[page, 0, h].reshape(d // 4, PAGE_SIZE, 4)[:, slot] = self.keys[t, h].reshape(d // 4, 4)
                kv[page, 1, h].reshape(PAGE_SIZE, d)[slot] = self.values[t, h]
        return kv

    def inputs(self) -> list[np.ndarray]:
        return [self.qkv, self.coarse, self.fine, self.state, self.table, self.before]


SHAPES = [(9, 3, 64), (8, 8, 80), (4, 1, 128), (4, 2, 96), (2, 1, 256)]


@pytest.mark.parametrize("tier", TIERS, ids=lambda tier: tier.name)
@pytest.mark.parametrize(("heads", "kv_heads", "d"), SHAPES)
@pytest.mark.parametrize(("start", "n"), [(0, 1), (0, 31), (33, 40), (100, 90)])
def test_prefill(page: Any, tier: Tier, heads: int, kv_heads: int, d: int, start: int, n: int) -> None:
    case = Case(heads, kv_heads, d, start, n, tier)
    out = np.zeros((n, heads * d), np.float32)
    args = [*case.inputs(), out]
    *_, kv, queries = run_kernel(page, rope_append(case.layout, CONTEXT, tier), tier, args, n=n)
    tolerance = 4e-3 if tier.f16 else 1e-5
    np.testing.assert_allclose(kv, case.after, atol=tolerance)
    args = [queries, case.state, case.table, kv, out]
    *_, found = run_kernel(page, flash_attention(case.layout, tier), tier, args, n=n)
    assert np.abs(found - case.expected).max() < (2e-2 if tier.f16 else 2e-5)


@pytest.mark.parametrize("tier", TIERS, ids=lambda tier: tier.name)
@pytest.mark.parametrize(("heads", "kv_heads", "d"), SHAPES)
@pytest.mark.parametrize("start", [0, 31, 200])
def test_decode(page: Any, tier: Tier, heads: int, kv_heads: int, d: int, start: int) -> None:
    check_decode(page, Case(heads, kv_heads, d, start, 1, tier), tier)


@pytest.mark.parametrize("tier", TIERS, ids=lambda tier: tier.name)
def test_decode_of_a_long_context_takes_several_blocks_a_split(page: Any, tier: Tier) -> None:
    check_decode(page, Case(4, 2, 64, 1023 - 37, 1, tier), tier)


def check_decode(page: Any, case: Case, tier: Tier) -> None:
    layout = case.layout
    partial = np.zeros((layout.heads, splits(tier), layout.head_dim + 2), np.float32)
    *_, kv, partial = run_kernel(page, attend(layout, CONTEXT, tier), tier, [*case.inputs(), partial])
    np.testing.assert_allclose(kv, case.after, atol=4e-3 if tier.f16 else 1e-5)
    out = np.zeros((1, layout.heads * layout.head_dim), np.float32)
    *_, found = run_kernel(page, merge(layout, tier), tier, [partial, out])
    assert np.abs(found - case.expected).max() < (2e-2 if tier.f16 else 2e-5)
