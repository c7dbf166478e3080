"""Kernels of pictures against numpy: neighbours joined, their mean, and rows in the places of tokens below 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlcweb.kernels.choice.tier import BASE
from mlcweb.kernels.images.mean import mean
from mlcweb.kernels.images.merge import merge
from mlcweb.kernels.layouts.pieces import Piece
from mlcweb.kernels.layouts.storage import Values
from mlcweb.kernels.vocabulary.embedding import embed
from tests.support.browser.kernel_page import run_kernel


@pytest.mark.parametrize(("width", "count", "rows"), [(64, 4, 5), (96, 9, 1), (388, 16, 3)])
@pytest.mark.parametrize("browser", ["stock"])
def test_merge(kernel_page: Any, width: int, count: int, rows: int) -> None:
    x = np.random.default_rng(0).standard_normal((rows * count, width), np.float32)
    first = np.arange(rows, dtype=np.int32)[::-1] * count  # a row's patches need not be where the row is
    args = [x, np.ascontiguousarray(first), np.full((rows, count * width), np.nan, np.float32)]
    *_, actual = run_kernel(kernel_page, merge(width, count), BASE, args, n=len(x), b=rows)
    assert (actual == x.reshape(rows, -1)[::-1]).all()


@pytest.mark.parametrize(("width", "count", "rows"), [(64, 4, 5), (1152, 16, 3), (388, 9, 1)])
@pytest.mark.parametrize("browser", ["stock"])
def test_mean(kernel_page: Any, width: int, count: int, rows: int) -> None:
    x = np.random.default_rng(0).standard_normal((rows * count, width), np.float32)
    first = np.arange(rows, dtype=np.int32)[::-1] * count
    args = [x, np.ascontiguousarray(first), np.full((rows, width), np.nan, np.float32)]
    *_, actual = run_kernel(kernel_page, mean(width, count), BASE, args, n=len(x), b=rows)
    wanted = x.reshape(rows, count, width).mean(axis=1, dtype=np.float64)[::-1]
    np.testing.assert_allclose(actual, wanted, atol=1e-6)


@pytest.mark.parametrize("piece", [None, (0, 8), (8, 16)], ids=str)
@pytest.mark.parametrize("browser", ["stock"])
def test_rows_of_pictures_are_in_the_places_of_tokens_below_0(
    kernel_page: Any, piece: tuple[int, int] | None
) -> None:
    """Also where a table is in pieces: the first writes them, and no other."""
    rng, width = np.random.default_rng(1), 132
    table, images = (rng.standard_normal(shape, np.float32) for shape in ((16, width), (6, width)))
    tokens = np.array([3, -1, -7, 15, 8, -2], np.int32)
    first, end = piece or (0, 16)
    before = np.full((6, width), 7, np.float32)
    w = Values((end - first, width), "float32", BASE)
    own = Piece(first, 16) if piece else None
    func = embed(w, prefill=True, scale=2.0, images=True, piece=own)
    *_, actual = run_kernel(kernel_page, func, BASE, [tokens, table[first:end], images, before], n=6)
    looked_up = np.where(tokens[:, None] < 0, images, 2 * table[np.maximum(tokens, 0)])
    written = (tokens < 0) & (first == 0) | (tokens >= first) & (tokens < end)
    np.testing.assert_allclose(actual, np.where(written[:, None], looked_up, before), rtol=1e-6)
