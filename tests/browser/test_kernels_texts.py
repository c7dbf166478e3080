"""Kernels over texts side by side against numpy: attention within each, RoPE by places, pooling, lengths, scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlcweb.kernels.attention.rotate import rotate_heads
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.choice.tier import BASE, SUBGROUPS, Tier
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.layouts.storage import Values
from mlcweb.kernels.texts.attention import attend_texts
from mlcweb.kernels.texts.pool import pool, unit
from mlcweb.kernels.texts.score import score
from mlcweb.kernels.vocabulary.embedding import embed
from tests.support.browser.kernel_page import run_kernel
from tests.support.browser.text_kernels import (
    ATTENTION,
    LENGTHS,
    LookedUp,
    Turning,
    attention,
    places_of,
    pooled,
)


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize(("heads", "kv_heads", "d", "scoring"), ATTENTION)
@pytest.mark.parametrize("browser", ["stock"])
def test_attend_texts(
    kernel_page: Any, lengths: list[int], heads: int, kv_heads: int, d: int, scoring: Scoring
) -> None:
    n, rng, layout = sum(lengths), np.random.default_rng(d), HeadLayout(heads, kv_heads, d, 4)
    qkv = rng.standard_normal((n, (heads + 2 * kv_heads) * d), np.float32) * 2
    out = np.full((n, heads * d), np.nan, np.float32)
    func = attend_texts(layout, scoring)
    *_, actual = run_kernel(kernel_page, func, BASE, [qkv, places_of(lengths), out], n=n)
    np.testing.assert_allclose(actual, attention(qkv, layout, scoring, lengths), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("heads", "kv_heads", "d"), [(12, 12, 32), (4, 1, 256), (3, 3, 80)])
@pytest.mark.parametrize("browser", ["stock"])
def test_rotate(kernel_page: Any, heads: int, kv_heads: int, d: int) -> None:
    case = Turning(heads, kv_heads, d)
    args = [case.qkv, *case.tables, case.places, np.zeros_like(case.qkv)]
    func = rotate_heads(case.layout, case.context, texts=True)
    *_, actual = run_kernel(kernel_page, func, BASE, args, n=len(case.qkv))
    np.testing.assert_allclose(actual, case.turned, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@pytest.mark.parametrize("browser", ["stock"])
def test_pool(kernel_page: Any, pooling: Any) -> None:
    lengths, width = [5, 1, 90, 3], 388
    n, begins = sum(lengths), np.cumsum([0, *lengths[:-1]])
    x = np.random.default_rng(0).standard_normal((n, width), np.float32)
    args = [x, places_of(lengths), begins.astype(np.int32), np.zeros((4, width), np.float32)]
    *_, actual = run_kernel(kernel_page, pool(width, pooling), BASE, args, n=n, b=4)
    np.testing.assert_allclose(actual, pooled(x, lengths, pooling), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tier", [BASE, SUBGROUPS], ids=str)
@pytest.mark.parametrize("browser", ["stock"])
def test_unit(kernel_page: Any, tier: Tier) -> None:
    x = np.random.default_rng(0).standard_normal((7, 388), np.float32) * np.logspace(-6, 6, 7)[:, None]
    x = x.astype(np.float32)
    x[3] = 0
    args = [x, np.zeros_like(x)]
    *_, actual = run_kernel(kernel_page, unit(388, tier), tier, args, b=7)
    lengths = np.maximum(np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True), 1e-12)
    np.testing.assert_allclose(actual, x / lengths, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("browser", ["stock"])
def test_score(kernel_page: Any, rows: int, dtype: str, biased: bool) -> None:
    rng, width = np.random.default_rng(1), 260
    x, w = rng.standard_normal((5, width), np.float32), rng.standard_normal((rows, width)).astype(dtype)
    bias = rng.standard_normal(1).astype(dtype)
    expected = x.astype(np.float64) @ (w[-1] - (w[0] if rows == 2 else 0)).astype(np.float64)
    values = Values((1, 1), dtype, BASE) if biased else None
    func = score(Values((rows, width), dtype, BASE), values, BASE)
    args = [x, w, *([bias] if biased else []), np.zeros((5, 1), np.float32)]
    *_, actual = run_kernel(kernel_page, func, BASE, args, b=5)
    np.testing.assert_allclose(
        actual[:, 0], expected + (float(bias[0]) if biased else 0), rtol=2e-3 if dtype == "float16" else 1e-5
    )


@pytest.mark.parametrize("browser", ["stock"])
def test_embed_with_positions_and_types(kernel_page: Any) -> None:
    case = LookedUp()
    table, positions, kinds = case.stored()
    func = embed(table, prefill=True, positions=positions, kinds=kinds, texts=True)
    *_, actual = run_kernel(kernel_page, func, BASE, case.arguments(), n=15)
    np.testing.assert_allclose(actual, case.expected, rtol=1e-6)
