"""The CPU tier's kernels over texts side by side, against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.choice.tier import BASE
from mlcweb.kernels.cpu.embed import embed
from mlcweb.kernels.cpu.heads import rotate_heads
from mlcweb.kernels.cpu.texts import attend_texts, pool, score, unit
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.layouts.storage import Values
from tests.support.browser.cpu_kernels import run_cpu
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
def test_attend(
    gpu_page: Any, lengths: list[int], heads: int, kv_heads: int, d: int, scoring: Scoring
) -> None:
    n, rng, layout = sum(lengths), np.random.default_rng(d), HeadLayout(heads, kv_heads, d, 4)
    qkv = rng.standard_normal((n, (heads + 2 * kv_heads) * d), np.float32) * 2
    args = [qkv, places_of(lengths), np.full((n, heads * d), np.nan, np.float32)]
    actual = run_cpu(gpu_page, attend_texts(layout, scoring), args, n=n)[-1]
    np.testing.assert_allclose(actual, attention(qkv, layout, scoring, lengths), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("heads", "kv_heads", "d"), [(12, 12, 32), (4, 1, 256), (3, 3, 80)])
def test_rotate(gpu_page: Any, heads: int, kv_heads: int, d: int) -> None:
    case = Turning(heads, kv_heads, d)
    args = [case.qkv, *case.tables, case.places, np.zeros_like(case.qkv)]
    func = rotate_heads(case.layout, case.context, texts=True)
    actual = run_cpu(gpu_page, func, args, n=len(case.qkv))[-1]
    np.testing.assert_allclose(actual, case.turned, rtol=1e-5, atol=1e-5)


def test_pool(gpu_page: Any) -> None:
    lengths, width = [5, 1, 90, 3], 388
    x = np.random.default_rng(0).standard_normal((sum(lengths), width), np.float32)
    begins = np.cumsum([0, *lengths[:-1]]).astype(np.int32)
    for pooling in ("mean", "cls", "last"):
        args = [x, places_of(lengths), begins, np.zeros((4, width), np.float32)]
        actual = run_cpu(gpu_page, pool(width, pooling), args, n=len(x), b=4)[-1]
        np.testing.assert_allclose(actual, pooled(x, lengths, pooling), rtol=1e-5, atol=1e-6)


def test_unit(gpu_page: Any) -> None:
    x = np.random.default_rng(0).standard_normal((7, 388), np.float32) * np.logspace(-6, 6, 7)[:, None]
    x = x.astype(np.float32)
    x[3] = 0
    actual = run_cpu(gpu_page, unit(388), [x, np.zeros_like(x)], b=7)[-1]
    lengths = np.maximum(np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True), 1e-12)
    np.testing.assert_allclose(actual, x / lengths, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_score(gpu_page: Any, dtype: str) -> None:
    rng, width = np.random.default_rng(1), 260
    x = rng.standard_normal((5, width), np.float32)
    for rows, biased in ((1, False), (1, True), (2, False)):
        w, bias = rng.standard_normal((rows, width)).astype(dtype), rng.standard_normal(1).astype(dtype)
        expected = x.astype(np.float64) @ (w[-1] - (w[0] if rows == 2 else 0)).astype(np.float64)
        values = Values((1, 1), dtype, BASE) if biased else None
        args = [x, w, *([bias] if biased else []), np.zeros((5, 1), np.float32)]
        actual = run_cpu(gpu_page, score(Values((rows, width), dtype, BASE), values), args, b=5)[-1]
        tolerance = 2e-3 if dtype == "float16" else 1e-5
        np.testing.assert_allclose(
            actual[:, 0], expected + (float(bias[0]) if biased else 0), rtol=tolerance, atol=tolerance
        )


def test_embed_with_positions_and_types(gpu_page: Any) -> None:
    case = LookedUp()
    table, positions, kinds = case.stored()
    func = embed(table, prefill=True, positions=positions, kinds=kinds, texts=True)
    actual = run_cpu(gpu_page, func, case.arguments(), n=15)[-1]
    np.testing.assert_allclose(actual, case.expected, rtol=1e-6)
