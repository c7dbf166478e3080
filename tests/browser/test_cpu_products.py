"""The CPU tier's products of every storage, without and with Relaxed SIMD, against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.synthetic.gguf_types import QUANTIZED, block_size
from mlcweb.kernels.choice.tier import BASE
from mlcweb.kernels.cpu.levels import reads
from mlcweb.kernels.cpu.product_int8 import product_int8
from mlcweb.kernels.cpu.rounding import Rounded, round_rows
from mlcweb.kernels.layouts.quantized import GroupQuantized
from mlcweb.kernels.layouts.storage import Vector
from mlcweb.kernels.products.matvec import Norm
from mlcweb.quantize.block_order import to_block_order
from mlcweb.quantize.formats import GGUF_FORMATS
from mlcweb.quantize.schemes import SCHEMES
from tests.support.browser.cpu_kernels import run_cpu
from tests.support.browser.gguf_kernels import stored as gguf_stored
from tests.support.browser.kernel_page import stored
from tests.support.browser.kernel_values import close, folded, int8_rows

RELAXED = pytest.mark.parametrize("relaxed", [False, True], ids=["simd", "relaxed"])
BYTES = [kind for kind in QUANTIZED if reads(GGUF_FORMATS[kind])]


def rounded_x(page: Any, x: np.ndarray, how: Rounded) -> list[np.ndarray]:
    """x as ``round_rows`` leaves it."""
    n, width = x.shape
    groups = -(-width // 32)
    args = [x, np.zeros((n, how.words(width)), np.uint32), np.zeros((n, groups), np.float32)]
    if how.sums:
        args.append(np.zeros((n, 4 * groups), how.sums))
    return run_cpu(page, round_rows(width, how), args, n=n)[1:]


def codes_of(words: np.ndarray, how: Rounded) -> np.ndarray:
    """``round_rows``' codes ``[n, groups, 2, 16]``: the even columns' of a group, and the odd ones'."""
    if how.wide:
        return words.view(np.int16).reshape(len(words), -1, 2, 16)
    return words.view(np.int8).reshape(-1)[: words.size * 2].reshape(len(words), -1, 2, 16)


def product(
    page: Any,
    storage: GroupQuantized,
    tensors: list[np.ndarray],
    x: np.ndarray,
    weight: np.ndarray,
    fused: tuple[str, ...],
    relaxed: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """The kernel's y, and what numpy makes of the rounded x."""
    how = Rounded.of(storage.form, relaxed)
    given = rounded_x(page, x, how)
    halves = codes_of(given[0], how)
    rounded = (halves.swapaxes(-1, -2).reshape(len(x), -1, 32) * given[1][..., None]).reshape(len(x), -1)
    rng = np.random.default_rng(9)
    expected, more, fold = folded(rounded[:, : x.shape[1]] @ weight.T, fused, "float32", BASE, rng)
    func = product_int8(storage, relaxed=relaxed, decode=len(x) == 1, folded=fold)
    y = np.full_like(expected, np.nan, np.float32)
    *_, found = run_cpu(page, func, [*given, *tensors, *more, y], relaxed=relaxed, n=len(x))
    return found, expected


@pytest.mark.parametrize(
    "how", [Rounded(False), Rounded(True), Rounded(False, zero=7), Rounded(True, scaled=True)], ids=str
)
@pytest.mark.parametrize("width", [64, 100])
def test_rows_are_rounded_as_on_a_gpu(width: int, how: Rounded, gpu_page: Any) -> None:
    x = np.random.default_rng(1).standard_normal((5, width)).astype(np.float32)
    x[2] = 0
    codes, scales, *sums = rounded_x(gpu_page, x, how)
    expected, expected_scales = int8_rows(x)
    np.testing.assert_allclose(scales, expected_scales, rtol=2e-7)
    halves = np.stack([expected[..., ::2], expected[..., 1::2]], axis=2)
    found = codes_of(codes, how)
    np.testing.assert_array_equal(found, halves)
    if sums:
        own = expected.reshape(5, -1, 2, 16).astype(np.int32).sum(-1)
        total = own * expected_scales[..., None] if how.scaled else own * -how.zero
        padded = np.stack([total, np.zeros_like(total)], -1).reshape(5, -1)
        np.testing.assert_allclose(sums[0], padded, rtol=1e-6)


def test_rows_are_normalized_first(gpu_page: Any) -> None:
    rng, width = np.random.default_rng(2), 576
    x, scale = rng.standard_normal((3, width)), 1 + 0.1 * rng.standard_normal(width)
    x, scale = x.astype(np.float32), scale.astype(np.float32)
    normed = x / np.sqrt((x.astype(np.float64) ** 2).mean(-1, keepdims=True) + 1e-5) * scale
    norm, how = Norm(Vector(width, "float32", BASE), 1e-5), Rounded(False)
    for last in (False, True):
        rows = 1 if last else 3
        out = [np.zeros((rows, how.words(width)), np.uint32), np.zeros((rows, width // 32), np.float32)]
        func = round_rows(width, how, norm=norm, last_row=last)
        *_, codes, scales = run_cpu(gpu_page, func, [x, to_block_order(scale)[None], *out], n=3)
        found = codes_of(codes, how).swapaxes(-1, -2) * scales[..., None, None]
        close(found.reshape(rows, -1), normed[-rows:].astype(np.float32), 1 / 250)


@RELAXED
@pytest.mark.parametrize("n", [1, 6])
@pytest.mark.parametrize("kind", BYTES)
def test_gguf_types(kind: str, n: int, relaxed: bool, gpu_page: Any) -> None:
    k = {32: 96, 256: 768}[block_size(kind)]
    storage, tensors, weight = gguf_stored(kind, BASE, 46, k, 4)
    assert isinstance(storage, GroupQuantized)
    x = np.random.default_rng(3).standard_normal((n, k)).astype(np.float32)
    close(*product(gpu_page, storage, tensors, x, weight, ("silu", "gated"), relaxed), 2e-5)


@RELAXED
@pytest.mark.parametrize(
    ("n", "fused"), [(1, ("bias", "residual")), (9, ("gelu", "residual"))], ids=["1", "9"]
)
@pytest.mark.parametrize("scheme", ["q4f16_1", "q4f32_1", "q8f16_1", "q8f32_1"])
@pytest.mark.parametrize("k", [576, 100])
def test_group_quantized(
    scheme: str, k: int, n: int, fused: tuple[str, ...], relaxed: bool, gpu_page: Any
) -> None:
    rng = np.random.default_rng(5)
    storage, tensors, weight = stored(rng.standard_normal((42, k)), SCHEMES[scheme], BASE)
    assert isinstance(storage, GroupQuantized)
    x = rng.standard_normal((n, k)).astype(np.float32)
    close(*product(gpu_page, storage, tensors, x, weight, fused, relaxed), 2e-5)
