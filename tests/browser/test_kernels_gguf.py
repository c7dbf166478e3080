"""Every GGUF type as it is: what kernels of each tier read and multiply, against the gguf library's values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlcweb.kernels.choose import in_blocks, matmul, matvec
from mlcweb.kernels.embedding import embed
from mlcweb.kernels.linear import Norm
from mlcweb.kernels.matmul_int8 import in_pairs, matmul_int8
from mlcweb.kernels.matmul_matrix import matmul_matrix
from mlcweb.kernels.quantized import GroupQuantized
from mlcweb.kernels.storage import Vector, WholeMatrix, matrix
from mlcweb.kernels.tier import BASE, F16, F16_SUBGROUPS, SOFTWARE, SUBGROUPS, Tier
from mlcweb.lower import lower_kernel
from mlcweb.quantize.blocks import to_blocks
from mlcweb.quantize.pack import pack_gguf
from mlcweb.quantize.schemes import stored_type
from tests.browser.kernel_page import run_kernel, run_lowered
from tests.browser.subgroup_matrices import SPELLED_OUT_NEEDS, spelled_out
from tests.browser.test_kernels_linear import close, folded, on
from tests.browser.test_kernels_rounded import half_words, int8_rows, int8_words
from tests.gguf_types import FLOATS, QUANTIZED, draw, values

KINDS = [*QUANTIZED, *FLOATS]
BOTH = [*on("stock", BASE), *on("f16", F16)]
EVERY = [*BOTH, *on("stock", SUBGROUPS), *on("f16", F16_SUBGROUPS), *on("stock", SOFTWARE)]


def stored(
    kind: str, tier: Tier, rows: int, k: int, seed: int
) -> tuple[WholeMatrix, list[np.ndarray], np.ndarray]:
    """A matrix of a type: its storage, its buffers and its values."""
    raw = draw(kind, rows, k, np.random.default_rng(seed))
    storage = matrix(rows, k, stored_type(kind), tier)
    expected = values(raw, kind)
    if isinstance(storage, GroupQuantized):
        return storage, list(pack_gguf(raw, storage.form)), expected
    if kind == "BF16":
        return storage, [raw.view(np.uint32)], expected
    return storage, [raw.view(np.float32 if kind == "F32" else np.float16)], expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("browser", "tier"), BOTH)
def test_rows_are_the_librarys_bit_for_bit(kernel_page: Any, kind: str, tier: Tier) -> None:
    storage, tensors, expected = stored(kind, tier, 19, 768, 1)
    ids = np.random.default_rng(2).integers(0, 19, 5).astype(np.int32)
    out = np.zeros((5, 768), np.float32)
    *_, x = run_kernel(kernel_page, embed(storage, prefill=True), tier, [ids, *tensors, out], n=5)
    np.testing.assert_array_equal(x, expected[ids])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("browser", "tier"), EVERY)
def test_decode(kernel_page: Any, kind: str, tier: Tier) -> None:
    rng, k, rows = np.random.default_rng(3), 1280, 34
    storage, tensors, weight = stored(kind, tier, 2 * rows, k, 4)
    x = rng.standard_normal((1, k)).astype(np.float32)
    scale = (1 + 0.1 * rng.standard_normal(k)).astype(np.float32)
    normed = x / np.sqrt((x**2).mean() + 1e-5) * scale
    laid = to_blocks if in_blocks(tier) else np.array
    expected, _, options = folded(normed @ weight.T, ("silu", "gated"), "float32", tier, rng)
    options["norm"] = Norm(Vector(k, "float32", tier), 1e-5)
    args = [laid(x), to_blocks(scale), *tensors, np.zeros((1, rows), np.float32)]
    *_, y = run_kernel(kernel_page, matvec(storage, tier, **options), tier, args)
    close(y, expected, 2e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("browser", "tier"), [*BOTH, *on("stock", SOFTWARE)])
def test_prefill(kernel_page: Any, kind: str, tier: Tier) -> None:
    rng, n, rows, k = np.random.default_rng(5), 11, 68, 512
    storage, tensors, weight = stored(kind, tier, rows, k, 6)
    x = rng.standard_normal((n, k)).astype(np.float32)
    expected, more, options = folded(x @ weight.T, ("residual",), "float32", tier, rng)
    args = [x, *tensors, *more, np.zeros((n, rows), np.float32)]
    *_, y = run_kernel(kernel_page, matmul(storage, tier, **options), tier, args, n=n)
    close(y, expected, 3e-3 if tier.f16 else 2e-5)  # f16 tiers round both tiles to 11 bits


@pytest.mark.parametrize("kind", QUANTIZED)
@pytest.mark.parametrize(("browser", "tier"), BOTH)
def test_prefill_with_int8_activations(kernel_page: Any, kind: str, tier: Tier) -> None:
    rng, n, rows, k = np.random.default_rng(7), 9, 36, 768
    codes, scales = int8_rows(rng.standard_normal((n, k)).astype(np.float32))
    storage, tensors, weight = stored(kind, tier, 2 * rows, k, 8)
    assert isinstance(storage, GroupQuantized)
    product = (codes * scales[..., None]).reshape(n, -1) @ weight.T
    expected, more, options = folded(product, ("silu", "gated"), "float32", tier, rng)
    words = int8_words(codes, paired=in_pairs(storage))
    args = [words, scales, *tensors, *more, np.zeros((n, rows), np.float32)]
    *_, y = run_kernel(kernel_page, matmul_int8(storage, **options), tier, args, n=n)
    close(y, expected, 2e-5)


@pytest.mark.parametrize("kind", QUANTIZED)
@pytest.mark.parametrize(("browser", "tier"), on("f16", F16_SUBGROUPS))
def test_prefill_on_subgroup_matrices(kernel_page: Any, kind: str, tier: Tier) -> None:
    rng, n, rows, k = np.random.default_rng(9), 7, 36, 256
    x = rng.standard_normal((n, k)).astype(np.float32)
    storage, tensors, weight = stored(kind, tier, rows, k, 10)
    assert isinstance(storage, GroupQuantized)
    expected, more, options = folded(x @ weight.T, ("residual",), "float32", tier, rng)
    args = [half_words(x), *tensors, *more, np.zeros((n, rows), np.float32)]
    func = spelled_out(lower_kernel("test_kernel", matmul_matrix(storage, **options), tier))
    *_, y = run_lowered(kernel_page, func, tier, args, SPELLED_OUT_NEEDS, n=n)
    close(y, expected, 3e-3)
