"""Norms of queries and keys against numpy, for every kind, weights shared and not, and head sizes of odd quads.

The kernel has no subgroup operations, and tiers differ in how float16 weights are read alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlcweb.kernels.attention.scale_heads import scale_heads
from mlcweb.kernels.choice.tier import BASE, F16, Tier
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.layouts.storage import Values
from mlcweb.kernels.norms.head_norm import HeadNorm, norm_heads
from mlcweb.quantize.block_order import to_block_order
from tests.support.browser.kernel_page import run_kernel

EPSILON = 1e-3


def expected(x: np.ndarray, weight: np.ndarray, kind: str, heads: int) -> np.ndarray:
    """x ``[n, heads * D]`` in float64, normalized by head or as a whole."""
    spans = x.reshape(len(x), 1 if kind == "full_rms" else heads, -1)
    if kind == "layer":
        spans = spans - spans.mean(-1, keepdims=True)
    normed = spans / np.sqrt((spans**2).mean(-1, keepdims=True) + EPSILON)
    normed = normed * weight.reshape(-1, normed.shape[-1])
    return normed.reshape(x.shape)


@pytest.mark.parametrize(
    ("browser", "dtype", "tier"),
    [("stock", "float32", BASE), ("stock", "float16", BASE), ("f16", "float16", F16)],
)
@pytest.mark.parametrize(
    ("kind", "shared", "heads", "kv_heads", "d", "n"),
    [
        ("rms", True, 9, 3, 64, 5),
        ("rms", True, 4, 1, 256, 1),
        ("rms", True, 2, 1, 512, 2),
        ("layer", False, 8, 2, 160, 3),
        ("layer", False, 5, 5, 80, 1),
        ("layer", True, 3, 1, 16, 2),
        ("full_rms", False, 6, 2, 96, 3),
        ("full_rms", False, 2, 1, 32, 1),
    ],
)
def test_norm_heads(
    kernel_page: Any,
    dtype: str,
    tier: Tier,
    kind: Any,
    shared: bool,
    heads: int,
    kv_heads: int,
    d: int,
    n: int,
) -> None:
    rng = np.random.default_rng(heads * d + n)
    counts = (1, 1) if shared else (heads, kv_heads)
    weights = [(1 + 0.3 * rng.standard_normal(count * d)).astype(dtype) for count in counts]
    # means far from 0 beside the spread, and spans of different sizes; some small enough for epsilon to matter
    sizes = 10.0 ** rng.uniform(-2, 1, (n, heads + 2 * kv_heads, 1))
    qkv = ((rng.standard_normal((n, heads + 2 * kv_heads, d)) + 3) * sizes).reshape(n, -1).astype(np.float32)
    q, keys, values = np.split(qkv.astype(np.float64), [heads * d, (heads + kv_heads) * d], 1)
    parts = [
        expected(q, weights[0].astype(np.float64), kind, heads),
        expected(keys, weights[1].astype(np.float64), kind, kv_heads),
        values,
    ]
    norm = HeadNorm(*(Values(w.shape, dtype, tier) for w in weights), EPSILON, kind)
    func = norm_heads(HeadLayout(heads, kv_heads, d, 4), norm, decode=n == 1)
    *_, actual = run_kernel(kernel_page, func, tier, [qkv, *weights, np.zeros_like(qkv)], n=n)
    wanted = np.concatenate(parts, 1)
    np.testing.assert_allclose(actual, wanted, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("browser", "dtype", "tier"), [("stock", "float16", BASE)])
@pytest.mark.parametrize(("heads", "kv_heads", "d", "n"), [(5, 1, 96, 3), (8, 2, 256, 1)])
def test_values_are_normalized_without_a_weight(
    kernel_page: Any, dtype: str, tier: Tier, heads: int, kv_heads: int, d: int, n: int
) -> None:
    rng = np.random.default_rng(d)
    weights = [(1 + 0.3 * rng.standard_normal(d)).astype(dtype) for _ in range(2)]
    qkv = (rng.standard_normal((n, (heads + 2 * kv_heads) * d)) * 0.1).astype(np.float32)
    given = zip(
        np.split(qkv.astype(np.float64), [heads * d, (heads + kv_heads) * d], 1),
        (*(weight.astype(np.float64) for weight in weights), np.ones(d)),
        (heads, kv_heads, kv_heads),
        strict=True,
    )
    wanted = np.concatenate([expected(part, weight, "rms", count) for part, weight, count in given], 1)
    norm = HeadNorm(*(Values(w.shape, dtype, tier) for w in weights), EPSILON, "rms", values=True)
    func = norm_heads(HeadLayout(heads, kv_heads, d, 4), norm, decode=n == 1)
    *_, actual = run_kernel(kernel_page, func, tier, [qkv, *weights, np.zeros_like(qkv)], n=n)
    np.testing.assert_allclose(actual, wanted, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("browser", "dtype", "tier"), [("stock", "float16", BASE)])
@pytest.mark.parametrize("kind", ["rms", "full_rms"])
def test_a_layer_may_have_queries_alone(kernel_page: Any, dtype: str, tier: Tier, kind: Any) -> None:
    rng = np.random.default_rng(6)
    heads, d, n = 6, 64, 2
    weight = (1 + 0.3 * rng.standard_normal(d if kind == "rms" else heads * d)).astype(dtype)
    q = rng.standard_normal((n, heads * d)).astype(np.float32)
    norm = HeadNorm(Values(weight.shape, dtype, tier), None, EPSILON, kind)
    func = norm_heads(HeadLayout(heads, 2, d, 4, appends=False), norm)
    *_, actual = run_kernel(kernel_page, func, tier, [q, weight, np.zeros_like(q)], n=n)
    wanted = expected(q.astype(np.float64), weight.astype(np.float64), kind, heads)
    np.testing.assert_allclose(actual, wanted, rtol=2e-5, atol=2e-5)


def test_what_has_no_keys_has_no_norm_of_them() -> None:
    weight = Values((64,), "float32", BASE)
    with pytest.raises(ValueError, match="keys have a norm where"):
        norm_heads(HeadLayout(4, 2, 64, 4, appends=False), HeadNorm(weight, weight, EPSILON, "rms"))
    with pytest.raises(ValueError, match="only rms does that"):
        norm_heads(HeadLayout(4, 2, 64, 4), HeadNorm(weight, weight, EPSILON, "layer", values=True))


def test_a_weight_of_another_size_is_refused() -> None:
    norm = HeadNorm(Values((64,), "float32", BASE), Values((48,), "float32", BASE), EPSILON, "rms")
    with pytest.raises(ValueError, match="a weight of 48 values"):
        norm_heads(HeadLayout(4, 2, 64, 4), norm)


@pytest.mark.parametrize("browser", ["stock"])
@pytest.mark.parametrize(("decode", "block_order"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize(("heads", "d"), [(16, 128), (5, 80), (3, 16)])
def test_scale_heads(kernel_page: Any, heads: int, d: int, decode: bool, block_order: bool) -> None:
    n, rng = 1 if decode else 7, np.random.default_rng(heads)
    x, scales = rng.standard_normal((n, heads * d), np.float32), rng.random((n, heads), np.float32)
    order = to_block_order if block_order else np.asarray
    func = scale_heads(HeadLayout(heads, 1, d, 4), decode=decode, block_order=block_order)
    *_, actual = run_kernel(kernel_page, func, BASE, [order(x), scales, np.zeros_like(x)], n=n)
    wanted = (x.reshape(n, heads, d) * scales[:, :, None]).reshape(x.shape)
    np.testing.assert_allclose(actual, order(wanted), rtol=1e-6)
