"""Matrix products, norms and embeddings against numpy, for every tier and storage, at odd sizes.

A kernel runs once for each code that is generated of it, so only where tier or storage change that; what has
subgroup operations runs on subgroups of 4 and of 8.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlcweb.kernels.choice.choose import matmul, matvec, normalize, uses_block_order
from mlcweb.kernels.choice.tier import BASE, F16, F16_SUBGROUPS, SOFTWARE, SUBGROUPS, Tier
from mlcweb.kernels.language.builder import KernelBuilder, ramp4
from mlcweb.kernels.layouts.storage import Values, Vector
from mlcweb.kernels.products.matvec import Norm, Vectors
from mlcweb.kernels.products.outputs import activate
from mlcweb.kernels.vocabulary.embedding import embed
from mlcweb.quantize import get_scheme
from mlcweb.quantize.block_order import to_block_order
from tests.support.browser.kernel_page import run_kernel, stored
from tests.support.browser.kernel_values import ACTIVATIONS, NORM, close, folded, on

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
    *on("stock", SOFTWARE, "q8f32_1"),
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


@pytest.mark.parametrize("kind", ACTIVATIONS)
@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("browser", ["stock", "f16"])
def test_activations_of_small_and_large_values(kernel_page: Any, kind: Any, lanes: int) -> None:
    x = np.concatenate([np.linspace(-9, 9, 56), [-1e4, -100.0, -1e-5, 0, 1e-5, 40, 100, 1e4]]).astype(
        np.float32
    )
    k = KernelBuilder("activate")
    values, y = k.buffer("x", (64,), "float32"), k.buffer("y", (64,), "float32")
    _, tid = k.launch([1], 64 // lanes)
    at = tid if lanes == 1 else ramp4(tid * 4)
    k.store(y, at, activate(kind, k.let(values[at], "value"), lanes))
    *_, actual = run_kernel(kernel_page, k.finish(), BASE, [x, np.zeros_like(x)])
    with np.errstate(over="ignore"):
        expected = ACTIVATIONS[kind](x.astype(np.float64))
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("browser", "scheme", "tier"), MATVEC)
@pytest.mark.parametrize(
    ("rows", "columns", "fused"),
    [
        (128, 576, ()),
        (64, 2080, ("residual",)),
        (96, 288, ("silu", "gated", "norm")),
        (66, 96, ("norm", "last_row")),
        (50, 128, ("bias", "gelu_tanh", "norm")),
        (38, 160, ("bias", "residual")),
        (34, 64, ("gelu_tanh", "gated", "bias")),
        (33, 64, ("cap", "bias")),
        (31, 4, ("residual",)),
        (1700, 64, ("residual", "norm")),
        (32, 4096, ("residual", "norm")),
        (1030, 36, ("silu", "gated")),
        (44, 300, ("residual", "norm")),
        (64, 80, ("silu", "gated", "norm")),
        (16387, 100, ("norm", "last_row")),
        (34, 96, ("each_row", "gelu_tanh", "gated", "bias")),
        (66, 160, ("each_row", "norm", "residual")),
    ],
)
def test_matvec(
    kernel_page: Any, scheme: str, tier: Tier, rows: int, columns: int, fused: tuple[str, ...]
) -> None:
    if "each_row" in fused and tier.software:
        pytest.skip("steps are as fast there")
    quant, rng = get_scheme(scheme), np.random.default_rng(rows)
    last_row, each_row = "last_row" in fused, "each_row" in fused
    n = 3 if last_row or each_row else 1
    x = rng.standard_normal((n, columns)).astype(np.float32)
    weight = rng.standard_normal((rows * 2 if "gated" in fused else rows, columns)) * 0.1
    storage, tensors, dequantized = stored(weight, quant, tier)
    laid = to_block_order if uses_block_order(tier) else np.array
    args, options = [x if last_row else laid(x)], dict[str, Any]()
    vectors = Vectors(
        last_row=last_row, each_row=each_row, y_block_order=uses_block_order(tier) and not last_row
    )
    y_laid = laid if vectors.y_block_order else np.array
    normed = x if each_row else x[-1:]
    if "norm" in fused:
        scale = (1 + 0.1 * rng.standard_normal(columns)).astype(quant.activation)
        options["norm"] = Norm(Vector(columns, quant.activation, tier), 1e-5)
        args.append(to_block_order(scale))
        mean = (normed**2).mean(1, keepdims=True)
        normed = normed / np.sqrt(mean + 1e-5) * scale.astype(np.float32)
    args += tensors
    expected, more, outputs = folded(normed @ dequantized.T, fused, quant.activation, tier, rng)
    if "residual" in fused:
        more[-1] = y_laid(more[-1])
    args += [*more, np.zeros((len(expected), rows), np.float32)]
    func = matvec(storage, tier, folded=outputs, vectors=vectors, **options)
    *_, y = run_kernel(kernel_page, func, tier, args, n=n)
    close(y, y_laid(expected), 2e-5)


@pytest.mark.parametrize(("browser", "scheme", "tier"), MATMUL)
@pytest.mark.parametrize(
    ("n", "rows", "columns", "fused"),
    [
        (1, 64, 32, ()),
        (40, 96, 288, ("silu", "gated")),
        (31, 132, 300, ("residual", "bias")),
        (33, 2052, 84, ("silu", "gated")),  # rows enough for the wide tile
        (9, 68, 64, ("gelu_tanh", "gated", "bias")),
        (9, 68, 64, ("gelu", "bias")),
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
    quant, rng = get_scheme(scheme), np.random.default_rng(n)
    x = rng.standard_normal((n, columns)).astype(np.float32)
    weight = rng.standard_normal((rows * 2 if "gated" in fused else rows, columns)) * 0.1
    storage, tensors, dequantized = stored(weight, quant, tier)
    expected, more, outputs = folded(x @ dequantized.T, fused, quant.activation, tier, rng)
    args = [x, *tensors, *more, np.zeros((n, rows), np.float32)]
    func = matmul(storage, tier, folded=outputs)
    *_, y = run_kernel(kernel_page, func, tier, args, n=n)
    close(y, expected, 3e-3 if tier.f16 else 2e-5)  # f16 tiers round both tiles to 11 bits


@pytest.mark.parametrize(("browser", "scheme", "tier"), EMBED)
@pytest.mark.parametrize("width", [96, 100])
def test_embedding_reads_the_right_rows(kernel_page: Any, scheme: str, tier: Tier, width: int) -> None:
    quant, rng = get_scheme(scheme), np.random.default_rng(5)
    storage, tensors, dequantized = stored(rng.standard_normal((51, width)), quant, tier)
    ids = rng.integers(0, 51, 9).astype(np.int32)
    out = np.zeros((9, width), np.float32)
    *_, x = run_kernel(kernel_page, embed(storage, prefill=True), tier, [ids, *tensors, out], n=9)
    np.testing.assert_array_equal(x, dequantized[ids])
    state = np.array([7, 50, 0, 0, 0, 0, 0, 0], np.int32)
    for ordered in (False, True):
        func = embed(storage, prefill=False, block_order=ordered)
        *_, x = run_kernel(kernel_page, func, tier, [state, *tensors, out[:1]])
        np.testing.assert_array_equal(x, to_block_order(dequantized[50:]) if ordered else dequantized[50:])


@pytest.mark.parametrize(("browser", "scheme", "tier"), EMBED)
def test_embedding_with_a_scale_and_learned_positions(kernel_page: Any, scheme: str, tier: Tier) -> None:
    quant, rng = get_scheme(scheme), np.random.default_rng(6)
    storage, tensors, dequantized = stored(rng.standard_normal((51, 96)), quant, tier)
    places = rng.standard_normal((40, 96)).astype(quant.activation)
    positions = Values((40, 96), quant.activation, tier)
    options: dict[str, Any] = {"scale": 96**0.5, "positions": positions}
    expected = dequantized * np.float32(96**0.5)
    ids = rng.integers(0, 51, 9).astype(np.int32)
    state = np.array([7, 50, 0, 0, 0, 0, 0, 0], np.int32)
    out = np.zeros((9, 96), np.float32)
    func = embed(storage, prefill=True, **options)
    *_, x = run_kernel(kernel_page, func, tier, [ids, *tensors, state, places, out], n=9)
    close(x, expected[ids] + places[7:16], 1e-6)
    func = embed(storage, prefill=False, block_order=True, **options)
    *_, x = run_kernel(kernel_page, func, tier, [state, *tensors, places, out[:1]])
    close(x, to_block_order(expected[50:] + places[7:8]), 1e-6)


@pytest.mark.parametrize(("browser", "tier"), [*NORM, *on("stock f16", SOFTWARE)])
@pytest.mark.parametrize(
    ("width", "fused"),
    [
        (36, ()),
        (96, ("residual",)),
        (2080, ("last_row",)),
        (576, ("decode", "residual")),
        (96, ("residual", "scale")),
        (576, ("decode", "residual", "scale")),
        (36, ("centered", "bias")),
        (96, ("centered", "bias", "residual", "decode")),
        (2080, ("centered", "last_row")),
        (96, ("to_block_order",)),
        (2080, ("centered", "bias", "to_block_order")),
    ],
)
def test_normalize(kernel_page: Any, tier: Tier, width: int, fused: tuple[str, ...]) -> None:
    if "to_block_order" in fused and tier.software:
        pytest.skip("vectors are in their own order there")
    rng = np.random.default_rng(width)
    n, centered = 1 if "decode" in fused else 5, "centered" in fused
    x = rng.standard_normal((n, width)).astype(np.float32) * 7 + 20 * centered
    laid = to_block_order if "decode" in fused and uses_block_order(tier) else np.array
    scale = (1 + 0.1 * rng.standard_normal(width)).astype(np.float16)
    args = [laid(x), to_block_order(scale)]
    expected = x - x.mean(1, keepdims=True) * centered
    expected = expected / np.sqrt((expected**2).mean(1, keepdims=True) + 1e-5) * scale.astype(np.float32)
    bias = None
    if "bias" in fused:
        bias = Vector(width, "float16", tier)
        added = rng.standard_normal(width).astype(np.float16)
        args.append(to_block_order(added))
        expected = expected + added.astype(np.float32)
    if "last_row" in fused:
        expected = expected[-1:]
    if "residual" in fused:
        residual = rng.standard_normal(expected.shape).astype(np.float32)
        args.append(laid(residual))
        expected = expected + residual
    factor = None
    if "scale" in fused:
        factor = Values((1,), "float16", tier)
        args.append(np.array([0.75, 0], np.float16))  # a word
        expected = expected * np.float32(0.75)
    norm = Norm(Vector(width, "float16", tier), 1e-5, centered, bias)
    flags: dict[str, Any] = {"scale": factor}
    flags |= {flag: flag in fused for flag in ("decode", "residual", "last_row", "to_block_order")}
    args.append(np.zeros_like(expected))
    *_, y = run_kernel(kernel_page, normalize(norm, tier, **flags), tier, args, n=n)
    close(y, (to_block_order if "to_block_order" in fused else laid)(expected), 1e-5)
