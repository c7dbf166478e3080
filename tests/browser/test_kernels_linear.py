"""Matrix products, norms and embeddings against numpy, for every tier and storage, at odd sizes.

A kernel runs once for each code that is generated of it, so only where tier or storage change that; what has
subgroup operations runs on subgroups of 4 and of 8.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlcweb.kernels.choose import in_blocks, matmul, matvec, rms_norm
from mlcweb.kernels.embedding import embed
from mlcweb.kernels.linear import Norm
from mlcweb.kernels.matmul_int8 import matmul_int8, quantize_rows
from mlcweb.kernels.storage import Vector
from mlcweb.kernels.tier import BASE, F16, F16_SUBGROUPS, SOFTWARE, SUBGROUPS, Tier
from mlcweb.quantize import get_scheme
from mlcweb.quantize.blocks import to_blocks
from tests.browser.kernel_page import run_kernel, stored


def on(browsers: str, tier: Tier, scheme: str = "") -> list[Any]:
    """Parameters (browser, scheme, tier), or (browser, tier) without a scheme, for each of the browsers."""
    return [
        pytest.param(
            browser,
            *([scheme] if scheme else []),
            tier,
            id="-".join(filter(None, (scheme, tier.name, browser))),
        )
        for browser in browsers.split()
    ]


MATVEC = [
    *on("stock f16", SUBGROUPS, "q4f32_1"),
    *on("stock f16", BASE, "q4f32_1"),
    *on("stock f16", SOFTWARE, "q4f32_1"),
    *on("f16", F16_SUBGROUPS, "q4f16_1"),
    *on("f16", F16, "q4f16_1"),
    *on("stock", SUBGROUPS, "q4f16_1"),
    *on("f16", BASE, "q4f16_1"),
    *on("stock", SOFTWARE, "q4f16_1"),
    *on("f16", F16_SUBGROUPS, "q3f16_1"),
    *on("stock", SOFTWARE, "q3f16_1"),
    *on("stock", SUBGROUPS, "q8f16_1"),
    *on("f16", BASE, "q8f32_1"),
    *on("f16", F16_SUBGROUPS, "q0f16"),
    *on("stock", BASE, "q0f16"),
    *on("f16", SUBGROUPS, "q0f32"),
    *on("stock", SOFTWARE, "q0f32"),
]
# No subgroup operations but the quads of `software`, and the others differ by float16 alone.
MATMUL = [
    *on("stock f16", SOFTWARE, "q4f32_1"),
    *on("stock f16", BASE, "q4f32_1"),
    *on("f16", F16, "q4f16_1"),
    *on("stock", BASE, "q4f16_1"),
    *on("f16", SOFTWARE, "q4f16_1"),
    *on("f16", F16, "q3f16_1"),
    *on("stock", BASE, "q3f32_1"),
    *on("f16", F16, "q8f16_1"),
    *on("stock", SOFTWARE, "q8f32_1"),
    *on("f16", F16, "q0f16"),
    *on("stock", BASE, "q0f16"),
    *on("f16", BASE, "q0f32"),
]
EMBED = [
    *on("f16", F16, "q4f16_1"),
    *on("stock", BASE, "q4f16_1"),
    *on("stock f16", BASE, "q4f32_1"),
    *on("f16", F16, "q3f16_1"),
    *on("stock", BASE, "q3f32_1"),
    *on("f16", F16, "q8f16_1"),
    *on("f16", F16, "q0f16"),
    *on("stock", BASE, "q0f16"),
    *on("f16", BASE, "q0f32"),
]
INT8 = [
    *on("f16", F16, "q4f16_1"),
    *on("stock", BASE, "q4f16_1"),
    *on("stock f16", BASE, "q4f32_1"),
    *on("stock", BASE, "q8f32_1"),
    *on("f16", F16, "q8f16_1"),
]
NORM = [*on("stock f16", SUBGROUPS), *on("stock f16", BASE), *on("f16", F16_SUBGROUPS)]


def close(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * max(1.0, float(np.abs(expected).max()))


def silu_product(y: np.ndarray) -> np.ndarray:
    gate, up = np.split(y, 2, axis=1)
    return gate / (1 + np.exp(-gate)) * up


@pytest.mark.parametrize(("browser", "scheme", "tier"), MATVEC)
@pytest.mark.parametrize(
    ("rows", "columns", "fused"),
    [
        (128, 576, ()),
        (64, 2080, ("residual",)),
        (96, 288, ("swiglu", "norm")),
        (66, 96, ("norm", "last_row")),
        (31, 4, ("residual",)),
        (1700, 64, ("residual", "norm")),
        (32, 4096, ("residual", "norm")),
        (1030, 36, ("swiglu",)),
        (44, 300, ("residual", "norm")),
        (64, 80, ("swiglu", "norm")),
        (16387, 100, ("norm", "last_row")),
    ],
)
def test_matvec(
    kernel_page: Any, scheme: str, tier: Tier, rows: int, columns: int, fused: tuple[str, ...]
) -> None:
    how, rng = get_scheme(scheme), np.random.default_rng(rows)
    n = 3 if "last_row" in fused else 1
    x = rng.standard_normal((n, columns)).astype(np.float32)
    weight = rng.standard_normal((rows * 2 if "swiglu" in fused else rows, columns)) * 0.1
    storage, tensors, dequantized = stored(weight, how, tier)
    laid = to_blocks if in_blocks(tier) else np.array
    args, options = [x if "last_row" in fused else laid(x)], dict[str, Any]()
    if in_blocks(tier) and "last_row" not in fused:
        options["to_blocks"] = True
    y_laid = laid if "to_blocks" in options else np.array
    normed = x[-1:]
    if "norm" in fused:
        scale = (1 + 0.1 * rng.standard_normal(columns)).astype(how.activation)
        options["norm"] = Norm(Vector(columns, how.activation, tier), 1e-5)
        args.append(to_blocks(scale))
        normed = normed / np.sqrt((normed**2).mean() + 1e-5) * scale.astype(np.float32)
    args += tensors
    expected = normed @ dequantized.T
    if "swiglu" in fused:
        expected, options["swiglu"] = silu_product(expected), True
    if "residual" in fused:
        residual = rng.standard_normal((1, rows)).astype(np.float32)
        args.append(y_laid(residual))
        expected, options["residual"] = expected + residual, True
    if "last_row" in fused:
        options["last_row"] = True
    args.append(np.zeros((1, rows), np.float32))
    *_, y = run_kernel(kernel_page, matvec(storage, tier, **options), tier, args, n=n)
    close(y, y_laid(expected), 2e-5)


@pytest.mark.parametrize(("browser", "scheme", "tier"), MATMUL)
@pytest.mark.parametrize(
    ("n", "rows", "columns", "fused"),
    [
        (1, 64, 32, ()),
        (40, 96, 288, ("swiglu",)),
        (31, 132, 300, ("residual",)),
        (33, 2052, 84, ("swiglu",)),  # rows enough for the wide tile
    ],
)
def test_matmul(
    kernel_page: Any, scheme: str, tier: Tier, n: int, rows: int, columns: int, fused: tuple[str, ...]
) -> None:
    check_matmul(kernel_page, scheme, tier, n, rows, columns, fused)


@pytest.mark.parametrize(
    ("browser", "scheme", "tier"),
    [
        *on("stock", BASE, "q4f32_1"),
        *on("stock", SOFTWARE, "q4f32_1"),
        *on("f16", F16, "q4f16_1"),
        *on("f16", BASE, "q3f32_1"),  # a row's last block is past its last group
    ],
)
def test_matmul_of_many_rows(kernel_page: Any, scheme: str, tier: Tier) -> None:
    check_matmul(kernel_page, scheme, tier, 1000, 68, 100, ("residual",))


def check_matmul(
    kernel_page: Any, scheme: str, tier: Tier, n: int, rows: int, columns: int, fused: tuple[str, ...]
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
    *_, y = run_kernel(kernel_page, func, tier, args, n=n)
    close(y, expected, 3e-3 if tier.f16 else 2e-5)  # f16 tiers round both tiles to 11 bits


@pytest.mark.parametrize(("browser", "scheme", "tier"), EMBED)
@pytest.mark.parametrize("width", [96, 100])
def test_embedding_reads_the_right_rows(kernel_page: Any, scheme: str, tier: Tier, width: int) -> None:
    how, rng = get_scheme(scheme), np.random.default_rng(5)
    storage, tensors, dequantized = stored(rng.standard_normal((51, width)), how, tier)
    ids = rng.integers(0, 51, 9).astype(np.int32)
    out = np.zeros((9, width), np.float32)
    *_, x = run_kernel(kernel_page, embed(storage, prefill=True), tier, [ids, *tensors, out], n=9)
    np.testing.assert_array_equal(x, dequantized[ids])
    state = np.array([7, 50, 0, 0, 0, 0, 0, 0], np.int32)
    for ordered in (False, True):
        func = embed(storage, prefill=False, to_blocks=ordered)
        *_, x = run_kernel(kernel_page, func, tier, [state, *tensors, out[:1]])
        np.testing.assert_array_equal(x, to_blocks(dequantized[50:]) if ordered else dequantized[50:])


@pytest.mark.parametrize(("browser", "tier"), [*NORM, *on("stock f16", SOFTWARE)])
@pytest.mark.parametrize("width", [36, 96, 2080])
def test_rms_norm(kernel_page: Any, tier: Tier, width: int) -> None:
    rng = np.random.default_rng(width)
    x = rng.standard_normal((5, width)).astype(np.float32) * 7
    scale = (1 + 0.1 * rng.standard_normal(width)).astype(np.float16)
    norm = Norm(Vector(width, "float16", tier), 1e-5)
    *_, y = run_kernel(kernel_page, rms_norm(norm, tier), tier, [x, to_blocks(scale), np.zeros_like(x)], n=5)
    close(y, x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-5) * scale.astype(np.float32), 1e-5)


def int8_rows(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x [n, K], padded with zeros to whole groups, as int8 [n, groups, 32] and scales [n, groups]."""
    groups = np.pad(x, ((0, 0), (0, -x.shape[1] % 32))).reshape(len(x), -1, 32)
    scales = np.abs(groups).max(-1) / np.float32(127)
    return np.rint(groups / np.where(scales == 0, 1, scales)[..., None]).astype(np.int8), scales


def int8_words(codes: np.ndarray, bits: int) -> np.ndarray:
    """As the kernels pack them: for weights of 4 bits of eight the even four, then the odd four; for 8 in order."""
    if bits == 8:
        return np.ascontiguousarray(codes).reshape(len(codes), -1).view(np.uint32)
    eights = codes.reshape(len(codes), -1, 4, 2).swapaxes(-1, -2)
    return np.ascontiguousarray(eights).reshape(len(codes), -1).view(np.uint32)


@pytest.mark.parametrize(("browser", "tier"), NORM)
@pytest.mark.parametrize(
    ("n", "width", "normed", "bits"),
    [
        (1, 96, False, 4),
        (1000, 36, False, 4),
        (31, 576, True, 4),
        (33, 2080, True, 4),
        (5, 100, True, 4),
        (33, 96, False, 8),
        (5, 100, True, 8),
    ],
)
def test_quantize_rows(kernel_page: Any, tier: Tier, n: int, width: int, normed: bool, bits: int) -> None:
    rng = np.random.default_rng(width)
    x = rng.standard_normal((n, width)).astype(np.float32)
    x[0, 32:64] = 0  # a group of zeros has scale 0
    groups = -(-width // 32)
    expected, args, norm = x, [x], None
    if normed:
        norm = Norm(Vector(width, "float32", tier), 1e-5)
        scale = (1 + 0.1 * rng.standard_normal(width)).astype(np.float32)
        args.append(to_blocks(scale))
        expected = x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-5) * scale
    args += [np.ones((n, groups * 8), np.uint32), np.zeros((n, groups), np.float32)]
    func = quantize_rows(width, tier, norm, weight_bits=bits)
    *_, words, scales = run_kernel(kernel_page, func, tier, args, n=n)
    codes, expected_scales = int8_rows(expected)
    np.testing.assert_allclose(scales, expected_scales, rtol=1e-5)
    wrong = words.view(np.int8).astype(int) - int8_words(codes, bits).view(np.int8)
    assert np.abs(wrong).max() <= 1 and (wrong != 0).mean() < 1e-3  # a tie may fall to either side


@pytest.mark.parametrize(("browser", "scheme", "tier"), INT8)
@pytest.mark.parametrize(
    ("n", "rows", "columns", "fused"),
    [
        (1, 64, 32, ""),
        (31, 132, 576, ""),
        (33, 68, 288, "swiglu"),
        (70, 100, 2060, "residual"),
        (129, 256, 128, "swiglu"),
    ],
)
def test_matmul_int8(
    kernel_page: Any, scheme: str, tier: Tier, n: int, rows: int, columns: int, fused: str
) -> None:
    check_matmul_int8(kernel_page, scheme, tier, n, rows, columns, fused)


@pytest.mark.parametrize(("browser", "scheme", "tier"), on("stock", BASE, "q4f32_1"))
def test_matmul_int8_of_many_rows(kernel_page: Any, scheme: str, tier: Tier) -> None:
    check_matmul_int8(kernel_page, scheme, tier, 1000, 68, 100, "residual")


def check_matmul_int8(
    kernel_page: Any, scheme: str, tier: Tier, n: int, rows: int, columns: int, fused: str
) -> None:
    rng = np.random.default_rng(rows)
    codes, scales = int8_rows(rng.standard_normal((n, columns)).astype(np.float32))
    weight = rng.standard_normal((rows * 2 if fused == "swiglu" else rows, columns)) * 0.1
    storage, tensors, dequantized = stored(weight, get_scheme(scheme), tier)
    args = [int8_words(codes, storage.bits), scales, *tensors]
    expected = (codes * scales[..., None]).reshape(n, -1)[:, :columns] @ dequantized.T
    if fused == "swiglu":
        expected = silu_product(expected)
    if fused == "residual":
        args.append(rng.standard_normal((n, rows)).astype(np.float32))
        expected = expected + args[-1]
    args.append(np.zeros((n, rows), np.float32))
    func = matmul_int8(storage, residual=fused == "residual", swiglu=fused == "swiglu")
    *_, y = run_kernel(kernel_page, func, tier, args, n=n)
    close(y, expected, 2e-5)
