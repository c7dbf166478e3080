"""RoPE by places along several axes, against numpy: angles by token, what is turned by them, and decode's shift."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlcweb.contract.pictures import spots_of
from mlcweb.kernels.attention.angles import Sections, angles, turn_heads
from mlcweb.kernels.attention.rope_append import append, rope_append
from mlcweb.kernels.choice.choose import appends_before, attend, merge, splits, uses_block_order
from mlcweb.kernels.choice.tier import BASE
from mlcweb.kernels.images.add import add_images
from mlcweb.kernels.images.beside import beside
from mlcweb.kernels.images.spread import spread
from mlcweb.kernels.layouts.kv_cache import rope_tables
from mlcweb.kernels.layouts.storage import Values
from mlcweb.quantize.block_order import to_block_order
from tests.support.browser.attention_case import CONTEXT, DEFAULT, Case, Variant, rotate
from tests.support.browser.kernel_page import run_kernel

LARGE = (8, 1, 512)  # a workgroup has a part of the heads


@pytest.fixture
def page(request: pytest.FixtureRequest, variant: Variant) -> Any:
    return request.getfixturevalue("f16_gpu_page" if variant.f16_browser else "gpu_page")


def tables(d: int, turning: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Of a head of ``d``, of which so many dimensions turn: frequencies of its pairs, and RoPE's tables."""
    frequencies = np.pad(1e4 ** (-np.arange(0, turning, 2) / turning), (0, (d - turning) // 2))
    return frequencies, list(rope_tables(frequencies, CONTEXT))


@pytest.mark.parametrize(
    ("d", "turning", "sections", "axes"),
    [
        (128, 128, Sections((24, 20, 20), interleaved=True), [0, 1, 2] * 20 + [0] * 4),
        (256, 64, Sections((11, 11, 10), interleaved=True), [0, 1, 2] * 10 + [0, 1] + [0] * 96),
        (16, 16, Sections((3, 4, 1), interleaved=True), [0, 1, 2, 0, 1, 0, 0, 1]),
        (128, 128, Sections((16, 24, 24)), [0] * 16 + [1] * 24 + [2] * 24),
        (72, 72, Sections((18, 18)), [0] * 18 + [1] * 18),
    ],
    ids=str,
)
@pytest.mark.parametrize("browser", ["stock"])
def test_angles(kernel_page: Any, d: int, turning: int, sections: Sections, axes: list[int]) -> None:
    assert sections.axes(d // 2) == axes
    frequencies, (coarse, fine) = tables(d, turning)
    places = np.random.default_rng(d).integers(0, CONTEXT, (37, 4)).astype(np.int32)
    func = angles(Values(coarse.shape, "float32", BASE), sections)
    args = [places, coarse, fine, np.full((37, d), np.nan, np.float32)]
    *_, actual = run_kernel(kernel_page, func, BASE, args, n=37)
    turns = places[:, axes] * frequencies
    np.testing.assert_allclose(actual, np.concatenate([np.cos(turns), np.sin(turns)], 1), atol=1e-6)


def by_token(case: Case, start: int, n: int) -> np.ndarray:
    """Angles of tokens one after the other."""
    d = case.layout.head_dim
    turns = (start + np.arange(n))[:, None] * 1e4 ** (-np.arange(0, d, 2) / d)
    return np.concatenate([np.cos(turns), np.sin(turns)], 1).astype(np.float32)


@pytest.mark.parametrize("variant", DEFAULT, ids=str)
def test_prefill_turns_by_angles(page: Any, variant: Variant) -> None:
    for heads, kv_heads, d, start, n in ((4, 2, 64, 33, 40), (8, 8, 80, 0, 1)):
        case = Case(heads, kv_heads, d, start, n, variant)
        qkv, state, table = case.qkv, case.state, case.table
        out = np.zeros((n, heads * d), np.float32)
        args = [qkv, by_token(case, start, n), state, table, case.before, out]
        func = rope_append(case.layout, CONTEXT, case.scoring, angles=True)
        *_, kv, queries = run_kernel(page, func, variant.tier, args, n=n)
        np.testing.assert_allclose(kv.view(case.dtype), case.after, atol=variant.tolerance)
        plain = qkv.reshape(n, -1, d)[:, :heads].astype(np.float64)
        turned = rotate(plain, start + np.arange(n), 1e4 ** (-np.arange(0, d, 2) / d)) * case.scoring.scale
        np.testing.assert_allclose(queries, turned.reshape(n, -1), atol=1e-5)


@pytest.mark.parametrize("variant", DEFAULT[1:], ids=str)
def test_heads_are_turned_in_place(page: Any, variant: Variant) -> None:
    for heads, kv_heads, d, n in ((2, 2, 72, 40), (6, 2, 64, 1)):
        case = Case(heads, kv_heads, d, 0, n, variant)
        args = [by_token(case, 0, n), case.qkv]
        *_, actual = run_kernel(page, turn_heads(case.layout), variant.tier, args, n=n)
        parts = case.qkv.reshape(n, -1, d).astype(np.float64)
        both = heads + kv_heads
        turned = rotate(parts[:, :both], np.arange(n), 1e4 ** (-np.arange(0, d, 2) / d))
        expected = np.concatenate([turned, parts[:, both:]], axis=1).reshape(n, -1)
        np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("variant", DEFAULT, ids=str)
@pytest.mark.parametrize("shape", [(9, 3, 64), (8, 8, 80), LARGE], ids=str)
def test_decode_turns_by_a_shifted_position(page: Any, variant: Variant, shape: tuple[int, int, int]) -> None:
    """The table is as many places further as the position is shifted back, so the answer is that without a shift."""
    if shape == LARGE and variant == DEFAULT[0]:
        pytest.skip("one GPU tier is enough for large heads")
    case, back = Case(*shape, 200, 1, variant), 2
    layout, tier = case.layout, variant.tier
    case.state[4] = -64 * back
    case.coarse = np.roll(case.coarse, -back, axis=0)
    inputs = case.inputs()
    if appends_before(layout, tier):
        *_, inputs[-1] = run_kernel(page, append(layout, CONTEXT, shifted=True), tier, inputs)
    partial = np.zeros((layout.heads, splits(tier), layout.head_dim + 2), np.float32)
    func = attend(layout, CONTEXT, case.scoring, tier, shifted=True)
    *_, kv, partial = run_kernel(page, func, tier, [*inputs, partial])
    np.testing.assert_allclose(kv.view(case.dtype), case.after, atol=variant.tolerance)
    out = np.zeros((1, layout.heads * layout.head_dim), np.float32)
    *_, actual = run_kernel(page, merge(layout, tier), tier, [partial, out])
    expected = to_block_order(case.expected) if uses_block_order(tier) else case.expected
    assert np.abs(actual - expected).max() < (5e-3 if case.dtype == "float16" else 2e-5)


@pytest.mark.parametrize("size", [(4, 6), (2, 2), (2, 40), (8, 8)], ids=str)
@pytest.mark.parametrize("browser", ["stock"])
def test_learned_positions_are_stretched_over_a_picture(kernel_page: Any, size: tuple[int, int]) -> None:
    side, width = 7, 72
    table = np.random.default_rng(3).standard_normal((side * side, width), np.float32)
    spots = spots_of(size, 2)
    shares = []
    for at, count in enumerate(size):
        place = spots[:, at] * (side - 1) / max(count - 1, 1)
        shares.append(np.maximum(0, 1 - np.abs(place[:, None] - np.arange(side))))
    expected = np.einsum("ny,nx,yxd->nd", *shares, table.reshape(side, side, width))
    out = np.full((len(spots), width), np.nan, np.float32)
    func = spread(Values(table.shape, "float32", BASE))
    *_, actual = run_kernel(kernel_page, func, BASE, [spots.astype(np.int32), table, out], n=len(spots))
    np.testing.assert_allclose(actual, expected, atol=2e-5)
    corners = [
        int(np.flatnonzero((spots[:, :2] == corner).all(1))[0]) for corner in ((0, 0), np.array(size) - 1)
    ]
    np.testing.assert_allclose(actual[corners], table[[0, -1]], atol=1e-6)


@pytest.mark.parametrize("browser", ["stock"])
def test_rows_are_added_where_tokens_stand_for_pictures(kernel_page: Any) -> None:
    rng, width = np.random.default_rng(4), 132
    tokens = np.array([3, -1, -7, 15, -2], np.int32)
    images, x = (rng.standard_normal((5, columns), np.float32) for columns in (3 * width, width))
    _, _, actual = run_kernel(
        kernel_page, add_images(width, 3 * width), BASE, [tokens, images, x], n=5, part=2
    )
    expected = np.where(tokens[:, None] < 0, x + images[:, 2 * width :], x)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


@pytest.mark.parametrize("browser", ["stock"])
def test_rows_side_by_side(kernel_page: Any) -> None:
    x, rows = (np.random.default_rng(5).standard_normal((5, width), np.float32) for width in (68, 3 * 68))
    place = np.zeros(1, np.int32)  # of the number, which is no buffer
    for part in range(3):
        *_, actual = run_kernel(kernel_page, beside(68, 3), BASE, [x, place, rows], b=5, part=part)
        rows[:, part * 68 : (part + 1) * 68] = x
        assert (actual == rows).all()
