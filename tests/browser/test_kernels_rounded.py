"""Prefill's products with rounded activations, against numpy, at odd sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlcweb.kernels.choice.tier import BASE, F16, F16_SUBGROUPS, SUBGROUPS, Tier
from mlcweb.kernels.layouts.storage import Vector
from mlcweb.kernels.products.matmul_int8 import in_pairs, matmul_int8
from mlcweb.kernels.products.matmul_matrix import NEEDS, WIDE, matmul_matrix
from mlcweb.kernels.products.matvec import Norm
from mlcweb.kernels.products.rows import float16_rows, quantize_rows
from mlcweb.lower import lower_kernel
from mlcweb.quantize import get_scheme
from mlcweb.quantize.block_order import to_block_order
from tests.support.browser.kernel_page import run_kernel, run_lowered, stored
from tests.support.browser.kernel_values import NORM, close, folded, half_words, int8_rows, int8_words, on
from tests.support.browser.subgroup_matrices import SPELLED_OUT_NEEDS, spelled_out

INT8 = [
    *on("f16", F16, "q4f16_1"),
    *on("stock", BASE, "q4f16_1"),
    *on("stock f16", BASE, "q4f32_1"),
    *on("stock", BASE, "q8f32_1"),
    *on("f16", F16, "q8f16_1"),
]
SHAPES = [
    (1, 64, 32, ()),
    (31, 132, 576, ("bias",)),
    (33, 68, 288, ("silu", "gated")),
    (70, 100, 2060, ("residual",)),
    (129, 256, 128, ("gelu_tanh", "gated", "bias")),
    (70, 4100, 96, ("residual",)),  # rows enough for the wide tile
    (65, 2052, 64, ("silu", "gated")),
]


@pytest.mark.parametrize(("browser", "tier"), NORM)
@pytest.mark.parametrize(
    ("n", "width", "normed", "paired"),
    [
        (1, 96, False, True),
        (1000, 36, False, True),
        (31, 576, True, True),
        (33, 2080, True, True),
        (5, 100, True, True),
        (33, 96, False, False),
        (5, 100, True, False),
    ],
)
def test_quantize_rows(kernel_page: Any, tier: Tier, n: int, width: int, normed: bool, paired: bool) -> None:
    rng = np.random.default_rng(width)
    x = rng.standard_normal((n, width)).astype(np.float32)
    x[0, 32:64] = 0  # a group of zeros has scale 0
    groups = -(-width // 32)
    expected, args, norm = x, [x], None
    if normed:
        norm = Norm(Vector(width, "float32", tier), 1e-5)
        scale = (1 + 0.1 * rng.standard_normal(width)).astype(np.float32)
        args.append(to_block_order(scale))
        expected = x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-5) * scale
    args += [np.ones((n, groups * 8), np.uint32), np.zeros((n, groups), np.float32)]
    func = quantize_rows(width, tier, norm, paired=paired)
    *_, words, scales = run_kernel(kernel_page, func, tier, args, n=n)
    codes, expected_scales = int8_rows(expected)
    np.testing.assert_allclose(scales, expected_scales, rtol=1e-5)
    wrong = words.view(np.int8).astype(int) - int8_words(codes, paired=paired).view(np.int8)
    assert np.abs(wrong).max() <= 1 and (wrong != 0).mean() < 1e-3  # a tie may fall to either side


@pytest.mark.parametrize(("browser", "scheme", "tier"), INT8)
@pytest.mark.parametrize(("n", "rows", "columns", "fused"), SHAPES)
def test_matmul_int8(
    kernel_page: Any, scheme: str, tier: Tier, n: int, rows: int, columns: int, fused: tuple[str, ...]
) -> None:
    check_matmul_int8(kernel_page, scheme, tier, n, rows, columns, fused)


@pytest.mark.parametrize(("browser", "scheme", "tier"), on("stock", BASE, "q4f32_1"))
def test_matmul_int8_of_many_rows(kernel_page: Any, scheme: str, tier: Tier) -> None:
    check_matmul_int8(kernel_page, scheme, tier, 1000, 68, 100, ("residual",))


def check_matmul_int8(
    kernel_page: Any, scheme: str, tier: Tier, n: int, rows: int, columns: int, fused: tuple[str, ...]
) -> None:
    quant, rng = get_scheme(scheme), np.random.default_rng(rows)
    codes, scales = int8_rows(rng.standard_normal((n, columns)).astype(np.float32))
    weight = rng.standard_normal((rows * 2 if "gated" in fused else rows, columns)) * 0.1
    storage, tensors, dequantized = stored(weight, quant, tier)
    product = (codes * scales[..., None]).reshape(n, -1)[:, :columns] @ dequantized.T
    expected, more, outputs = folded(product, fused, quant.activation, tier, rng)
    args = [
        int8_words(codes, paired=in_pairs(storage)),
        scales,
        *tensors,
        *more,
        np.zeros((n, rows), np.float32),
    ]
    *_, y = run_kernel(kernel_page, matmul_int8(storage, folded=outputs), tier, args, n=n)
    close(y, expected, 2e-5)


@pytest.mark.parametrize(("browser", "tier"), NORM)
@pytest.mark.parametrize(
    ("n", "width", "normed"), [(3, 96, False), (1000, 36, False), (33, 2080, True), (5, 100, True)]
)
def test_float16_rows(kernel_page: Any, tier: Tier, n: int, width: int, normed: bool) -> None:
    rng = np.random.default_rng(width)
    x = rng.standard_normal((n, width)).astype(np.float32)
    expected, args, norm = x, [x], None
    if normed:
        norm = Norm(Vector(width, "float32", tier), 1e-5)
        scale = (1 + 0.1 * rng.standard_normal(width)).astype(np.float32)
        args.append(to_block_order(scale))
        expected = x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-5) * scale
    else:
        x[0, :2] = 1e6, -1e6
        expected = np.clip(x, -65504, 65504)
    args.append(np.ones((n, -(-width // 32) * 16), np.uint32))
    *_, words = run_kernel(kernel_page, float16_rows(width, tier, norm), tier, args, n=n)
    actual, wanted = (w.view(np.float16).astype(np.float32) for w in (words, half_words(expected)))
    np.testing.assert_allclose(actual, wanted, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("browser", "scheme", "tier"), [*on("f16", SUBGROUPS, "q4f32_1"), *on("f16", F16_SUBGROUPS, "q4f16_1")]
)
@pytest.mark.parametrize(
    ("n", "rows", "columns", "fused", "tile"),
    # spelled out, a shader takes seconds to compile, and with the wide tile 40
    [
        (31, 132, 576, ("bias",), None),
        (33, 68, 288, ("silu", "gated"), None),
        (70, 100, 2060, ("residual",), None),
        (129, 132, 64, ("gelu_tanh", "gated", "bias"), WIDE),
    ],
)
@pytest.mark.parametrize("spelled", [True, False])
def test_matmul_matrix(
    kernel_page: Any,
    scheme: str,
    tier: Tier,
    n: int,
    rows: int,
    columns: int,
    fused: tuple[str, ...],
    tile: Any,
    spelled: bool,
) -> None:
    offered = "async (name) => (await navigator.gpu.requestAdapter()).features.has(name)"
    if not spelled and not kernel_page.evaluate(offered, NEEDS["features"][0]):
        pytest.skip("this browser offers no subgroup matrices")
    quant, rng = get_scheme(scheme), np.random.default_rng(rows)
    x = rng.standard_normal((n, columns)).astype(np.float32)
    weight = rng.standard_normal((rows * 2 if "gated" in fused else rows, columns)) * 0.1
    storage, tensors, dequantized = stored(weight, quant, tier)
    expected, more, outputs = folded(x @ dequantized.T, fused, quant.activation, tier, rng)
    args = [half_words(x), *tensors, *more, np.zeros((n, rows), np.float32)]
    func = lower_kernel("test_kernel", matmul_matrix(storage, tile=tile, folded=outputs), tier)
    func, needs = (spelled_out(func), SPELLED_OUT_NEEDS) if spelled else (func, NEEDS)
    *_, y = run_lowered(kernel_page, func, tier, args, needs, n=n)
    close(y, expected, 3e-3)
