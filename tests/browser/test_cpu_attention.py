"""The CPU tier's RoPE, appends to the KV cache and attention, against numpy in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlcweb.contract.constants import State
from mlcweb.kernels.attention.angles import Sections
from mlcweb.kernels.attention.scoring import Growth, Scoring
from mlcweb.kernels.choice.tier import BASE
from mlcweb.kernels.cpu.attention import attend
from mlcweb.kernels.cpu.pictures import add_images, angles
from mlcweb.kernels.cpu.rope_append import rope_append
from mlcweb.kernels.layouts.storage import Values
from tests.support.browser.attention_case import CONTEXT, Case, Variant
from tests.support.browser.cpu_kernels import run_cpu

VARIANTS = [Variant(BASE, "float32"), Variant(BASE, "float16")]
SHAPES = [(9, 3, 64), (8, 8, 80), (4, 1, 128), (4, 2, 96)]


def check(page: Any, case: Case, variant: Variant) -> None:
    """The queries are rotated and scaled, the pages have the new keys and values, and attention is numpy's."""
    n, layout, scoring = len(case.qkv), case.layout, case.scoring.within(CONTEXT)
    decode = n == 1
    queries = np.zeros((n, layout.heads * layout.head_dim), np.float32)
    given = case.inputs() if layout.appends else case.inputs()[:4]
    func = rope_append(layout, CONTEXT, scoring, decode=decode)
    found = run_cpu(page, func, [*given, queries], n=n)
    queries, pages = found[-1], found[-2] if layout.appends else case.before
    elements, after = pages.view(case.dtype), case.after.view(case.dtype)
    seen = ~np.isnan(after)
    np.testing.assert_allclose(elements[seen], after[seen], atol=variant.tolerance)
    sinks, more = case.stored_sinks(BASE)
    ends = [] if case.ends is None else [case.ends]
    func = attend(layout, scoring, sinks, decode=decode, to_ends=bool(ends))
    args = [queries, case.state, case.table, pages, *ends, *more, np.full_like(queries, np.nan)]
    attention = run_cpu(page, func, args, n=n)[-1]
    np.testing.assert_allclose(attention, case.expected, atol=2e-5 if variant.dtype == "float32" else 4e-3)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize(("heads", "kv_heads", "d"), SHAPES)
@pytest.mark.parametrize(("start", "n"), [(0, 1), (47, 1), (0, 31), (100, 21)])
def test_causal(
    gpu_page: Any, variant: Variant, heads: int, kv_heads: int, d: int, start: int, n: int
) -> None:
    check(gpu_page, Case(heads, kv_heads, d, start, n, variant), variant)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize(
    "options",
    [
        {"scoring": Scoring(0.1, cap=2.0)},
        {"scoring": Scoring(0.125, window=20)},
        {"scoring": Scoring(0.125, window=CONTEXT)},
        {"scoring": Scoring(0.2, growth=Growth(0.1, 32))},
        {"appends": False},
        {"sinks": True},
        {"scoring": Scoring(0.1, cap=3.0, window=33), "sinks": True},
    ],
    ids=str,
)
@pytest.mark.parametrize(("start", "n"), [(70, 1), (90, 20)])
def test_scores_windows_and_sinks(
    gpu_page: Any, variant: Variant, options: dict[str, Any], start: int, n: int
) -> None:
    check(gpu_page, Case(6, 2, 64, start, n, variant, **options), variant)


def test_pictures_are_seen_whole(gpu_page: Any) -> None:
    variant = VARIANTS[0]
    for window in (None, 24):
        scoring = Scoring(0.125, window=window)
        check(gpu_page, Case(4, 2, 64, 20, 40, variant, scoring, pictures=((3, 33),)), variant)


def test_angles_and_shifts_turn_as_tables_do(gpu_page: Any) -> None:
    """Places that are positions, along each of three axes, and a position that is made of a shift."""
    case = Case(4, 2, 64, 30, 5, VARIANTS[0])
    layout, queries = case.layout, np.zeros((5, 256), np.float32)
    qkv, coarse, fine, state, *rest = case.inputs()
    expected = run_cpu(gpu_page, rope_append(layout, CONTEXT, case.scoring), [*case.inputs(), queries], n=5)
    axes = np.repeat(np.arange(30, 35, dtype=np.int32)[:, None], 4, axis=1)
    axes[:, 1] += 3
    tables = Values(coarse.shape, "float32", BASE)
    for sections in (Sections((12, 0, 20)), Sections((16, 0, 16), interleaved=True)):
        args = [axes, coarse, fine, np.zeros((5, 64), np.float32)]
        turned = run_cpu(gpu_page, angles(tables, sections), args, n=5)[-1]
        func = rope_append(layout, CONTEXT, case.scoring, angles=True)
        found = run_cpu(gpu_page, func, [qkv, turned, state, *rest, queries], n=5)
        np.testing.assert_allclose(found[-1], expected[-1], atol=1e-6)
        np.testing.assert_allclose(found[-2], expected[-2], atol=1e-6)
    args = [axes, coarse, fine, np.zeros((5, 64), np.float32)]
    turned = run_cpu(gpu_page, angles(tables, Sections((12, 10, 10))), args, n=5)[-1]
    angle = np.arange(30, 35)[:, None] + np.array([0] * 12 + [3] * 10 + [0] * 10)
    frequencies = 1e4 ** (-np.arange(0, 64, 2) / 64)
    exact = np.concatenate([np.cos(angle * frequencies), np.sin(angle * frequencies)], 1)
    np.testing.assert_allclose(turned, exact, atol=1e-6)
    shifted = state.copy()
    shifted[[State.POSITION, State.SHIFT]] = 37, -7
    func = rope_append(layout, CONTEXT, case.scoring, decode=True, shifted=True)
    found = run_cpu(gpu_page, func, [qkv[:1], coarse, fine, shifted, *rest, queries[:1]])
    np.testing.assert_allclose(found[-1], expected[-1][:1], atol=1e-6)


def test_rows_that_layers_add_behind_pictures(gpu_page: Any) -> None:
    rng, tokens = np.random.default_rng(1), np.array([4, -1, 0, -9], np.int32)
    images, x = (rng.standard_normal((4, width)).astype(np.float32) for width in (96, 32))
    found = run_cpu(gpu_page, add_images(32, 96), [tokens, images, x], 2, n=4)[-1]
    np.testing.assert_array_equal(found, np.where(tokens[:, None] < 0, x + images[:, 64:], x))
