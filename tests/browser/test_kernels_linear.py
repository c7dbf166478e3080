"""Matrix products, norms and embeddings against numpy, for every tier and storage, at odd sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlcweb.kernels.choose import matmul, matvec, rms_norm
from mlcweb.kernels.embedding import embed
from mlcweb.kernels.linear import Norm
from mlcweb.kernels.matmul_int8 import matmul_int8, quantize_rows
from mlcweb.kernels.storage import Values
from mlcweb.kernels.tier import TIERS, Tier, tiers_for
from mlcweb.quantize import get_scheme
from tests.browser.kernel_page import run_kernel, stored

CASES = [
    pytest.param(scheme, tier, id=f"{scheme}-{tier.name}")
    for scheme in ("q4f16_1", "q4f32_1", "q0f16", "q0f32")
    for tier in tiers_for(get_scheme(scheme).activation)
]


@pytest.fixture
def page(request: pytest.FixtureRequest, tier: Tier) -> Any:
    return request.getfixturevalue("f16_gpu_page" if tier.f16 else "gpu_page")


def close(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * max(1.0, float(np.abs(expected).max()))


def silu_product(y: np.ndarray) -> np.ndarray:
    gate, up = np.split(y, 2, axis=1)
    return gate / (1 + np.exp(-gate)) * up


@pytest.mark.parametrize(("scheme", "tier"), CASES)
@pytest.mark.parametrize(
    ("rows", "columns", "fused"),
    [
        (128, 576, ()),
        (64, 2080, ("residual",)),
        (96, 288, ("swiglu", "norm")),
        (66, 96, ("norm", "last_row")),
        (31, 32, ("residual",)),
        (1700, 64, ("residual", "norm")),
        (1030, 32, ("swiglu",)),
    ],
)
def test_matvec(page: Any, scheme: str, tier: Tier, rows: int, columns: int, fused: tuple[str, ...]) -> None:
    how, rng = get_scheme(scheme), np.random.default_rng(rows)
    n = 3 if "last_row" in fused else 1
    x = rng.standard_normal((n, columns)).astype(np.float32)
    weight = rng.standard_normal((rows * 2 if "swiglu" in fused else rows, columns)) * 0.1
    storage, tensors, dequantized = stored(weight, how, tier)
    args, options = [x], dict[str, Any]()
    normed = x[-1:]
    if "norm" in fused:
        scale = (1 + 0.1 * rng.standard_normal(columns)).astype(how.activation)
        options["norm"] = Norm(Values((columns,), how.activation, tier), 1e-5)
        args.append(scale)
        normed = normed / np.sqrt((normed**2).mean() + 1e-5) * scale.astype(np.float32)
    args += tensors
    expected = normed @ dequantized.T
    if "swiglu" in fused:
        expected, options["swiglu"] = silu_product(expected), True
    if "residual" in fused:
        residual = rng.standard_normal((1, rows)).astype(np.float32)
        args.append(residual)
        expected, options["residual"] = expected + residual, True
    if "last_row" in fused:
        options["last_row"] = True
    args.append(np.zeros((1, rows), np.float32))
    *_, y = run_kernel(page, matvec(storage, tier, **options), tier, args, n=n)
    close(y, expected, 2e-5)


@pytest.mark.parametrize(("scheme", "tier"), CASES)
@pytest.mark.parametrize(
    ("n", "rows", "columns", "fused"),
    [
        (1, 64, 32, ()),
        (33, 132, 96, ("residual",)),
        (40, 96, 288, ("swiglu",)),
        (7, 68, 64, ("swiglu",)),
        (9, 1700, 32, ()),
    ],
)
def test_matmul(
    page: Any, scheme: str, tier: Tier, n: int, rows: int, columns: int, fused: tuple[str, ...]
) -> None:
    how, rng = get_scheme(scheme), np.random.default_rng(n)
    x = rng.standard_normal((n, columns)).astype(np.float32)
    weight = rng.standard_normal((rows * 2 if "swiglu" in fused else rows, columns)) * 0.1
    storage, tensors, dequantized = stored(weight, how, tier)
    args = [x, *tensors]
    expected = x @ dequantized.T
    if "swiglu" in fused:
        expected = silu_product(expected)
    if "residual" in fused:
        residual = rng.standard_normal((n, rows)).astype(np.float32)
        args.append(residual)
        expected = expected + residual
    args.append(np.zeros((n, rows), np.float32))
    func = matmul(storage, tier, residual="residual" in fused, swiglu="swiglu" in fused)
    *_, y = run_kernel(page, func, tier, args, n=n)
    close(y, expected, 3e-3 if tier.f16 else 2e-5)  # f16 tiers round both tiles to 11 bits


@pytest.mark.parametrize(("scheme", "tier"), CASES)
def test_embedding_reads_the_right_rows(page: Any, scheme: str, tier: Tier) -> None:
    how, rng = get_scheme(scheme), np.random.default_rng(5)
    storage, tensors, dequantized = stored(rng.standard_normal((50, 96)), how, tier)
    ids = rng.integers(0, 50, 9).astype(np.int32)
    *_, x = run_kernel(
        page, embed(storage, prefill=True), tier, [ids, *tensors, np.zeros((9, 96), np.float32)], n=9
    )
    np.testing.assert_array_equal(x, dequantized[ids])
    state = np.array([7, 42, 0, 0, 0, 0, 0, 0], np.int32)
    *_, x = run_kernel(
        page, embed(storage, prefill=False), tier, [state, *tensors, np.zeros((1, 96), np.float32)]
    )
    np.testing.assert_array_equal(x, dequantized[42:43])


@pytest.mark.parametrize("tier", TIERS, ids=lambda tier: tier.name)
@pytest.mark.parametrize("width", [32, 96, 2080])
def test_rms_norm(page: Any, tier: Tier, width: int) -> None:
    rng = np.random.default_rng(width)
    x = rng.standard_normal((5, width)).astype(np.float32) * 7
    scale = (1 + 0.1 * rng.standard_normal(width)).astype(np.float16)
    norm = Norm(Values((width,), "float16", tier), 1e-5)
    *_, y = run_kernel(page, rms_norm(norm, tier), tier, [x, scale, np.zeros_like(x)], n=5)
    close(y, x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-5) * scale.astype(np.float32), 1e-5)


def int8_rows(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x [n, K] as int8 [n, K/32, 32] and scales [n, K/32]."""
    groups = x.reshape(len(x), -1, 32)
    scales = np.abs(groups).max(-1) / np.float32(127)
    return np.rint(groups / np.where(scales == 0, 1, scales)[..., None]).astype(np.int8), scales


def int8_words(codes: np.ndarray) -> np.ndarray:
    """As the kernels pack them: of eight, the even four, then the odd four."""
    eights = codes.reshape(len(codes), -1, 4, 2).swapaxes(-1, -2)
    return np.ascontiguousarray(eights).reshape(len(codes), -1).view(np.uint32)


@pytest.mark.parametrize("tier", TIERS, ids=lambda tier: tier.name)
@pytest.mark.parametrize(("n", "width", "normed"), [(1, 96, False), (31, 576, True), (33, 2080, True)])
def test_quantize_rows(page: Any, tier: Tier, n: int, width: int, normed: bool) -> None:
    rng = np.random.default_rng(width)
    x = rng.standard_normal((n, width)).astype(np.float32)
    x[0, 32:64] = 0  # a group of zeros has scale 0
    expected, args, norm = x, [x], None
    if normed:
        norm = Norm(Values((width,), "float32", tier), 1e-5)
        args.append((1 + 0.1 * rng.standard_normal(width)).astype(np.float32))
        expected = x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-5) * args[1]
    args += [np.zeros((n, width // 4), np.uint32), np.zeros((n, width // 32), np.float32)]
    *_, words, scales = run_kernel(page, quantize_rows(width, tier, norm), tier, args, n=n)
    codes, expected_scales = int8_rows(expected)
    np.testing.assert_allclose(scales, expected_scales, rtol=1e-5)
    wrong = words.view(np.int8).astype(int) - int8_words(codes).view(np.int8)
    assert np.abs(wrong).max() <= 1 and (wrong != 0).mean() < 1e-3  # a tie may fall to either side


@pytest.mark.parametrize(("scheme", "tier"), [case for case in CASES if str(case.id).startswith("q4")])
@pytest.mark.parametrize(
    ("n", "rows", "columns", "fused"),
    [
        (1, 64, 32, ""),
        (31, 132, 576, ""),
        (33, 68, 288, "swiglu"),
        (70, 100, 2080, "residual"),
        (129, 256, 128, "swiglu"),
    ],
)
def test_matmul_int8(page: Any, scheme: str, tier: Tier, n: int, rows: int, columns: int, fused: str) -> None:
    rng = np.random.default_rng(rows)
    codes, scales = int8_rows(rng.standard_normal((n, columns)).astype(np.float32))
    weight = rng.standard_normal((rows * 2 if fused == "swiglu" else rows, columns)) * 0.1
    storage, tensors, dequantized = stored(weight, get_scheme(scheme), tier)
    args = [int8_words(codes), scales, *tensors]
    expected = (codes * scales[..., None]).reshape(n, columns) @ dequantized.T
    if fused == "swiglu":
        expected = silu_product(expected)
    if fused == "residual":
        args.append(rng.standard_normal((n, rows)).astype(np.float32))
        expected = expected + args[-1]
    args.append(np.zeros((n, rows), np.float32))
    func = matmul_int8(storage, residual=fused == "residual", swiglu=fused == "swiglu")
    *_, y = run_kernel(page, func, tier, args, n=n)
    close(y, expected, 2e-5)
