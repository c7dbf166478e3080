"""What a tier's kernels make of a GGUF type in a browser, and what the gguf library's values make in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.synthetic.gguf_types import draw, values
from mlcweb.kernels.choice.choose import matmul, matvec, uses_block_order
from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.layouts.quantized import GroupQuantized
from mlcweb.kernels.layouts.storage import Vector, WholeMatrix, matrix
from mlcweb.kernels.products.matmul_int8 import in_pairs, matmul_int8
from mlcweb.kernels.products.matmul_matrix import matmul_matrix
from mlcweb.kernels.products.matvec import Norm
from mlcweb.kernels.vocabulary.embedding import embed
from mlcweb.lower import lower_kernel
from mlcweb.quantize.block_order import to_block_order
from mlcweb.quantize.pack import pack_gguf
from mlcweb.quantize.schemes import stored_type
from tests.support.browser.kernel_page import run_kernel, run_lowered
from tests.support.browser.kernel_values import folded, half_words, int8_rows, int8_words
from tests.support.browser.subgroup_matrices import SPELLED_OUT_NEEDS, spelled_out

Pair = tuple[np.ndarray, np.ndarray]  # found, expected


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


def rows(page: Any, kind: str, tier: Tier) -> Pair:
    """Rows of an embedding: dequantized, and nothing else."""
    storage, tensors, expected = stored(kind, tier, 19, 768, 1)
    ids = np.random.default_rng(2).integers(0, 19, 5).astype(np.int32)
    out = np.zeros((5, 768), np.float32)
    *_, x = run_kernel(page, embed(storage, prefill=True), tier, [ids, *tensors, out], n=5)
    return x, expected[ids]


def decode(page: Any, kind: str, tier: Tier) -> Pair:
    """A gated product of one normalized token."""
    rng, k, outputs = np.random.default_rng(3), 1280, 34
    storage, tensors, weight = stored(kind, tier, 2 * outputs, k, 4)
    x = rng.standard_normal((1, k)).astype(np.float32)
    scale = (1 + 0.1 * rng.standard_normal(k)).astype(np.float32)
    normed = x / np.sqrt((x**2).mean() + 1e-5) * scale
    laid = to_block_order if uses_block_order(tier) else np.array
    expected, _, fold = folded(normed @ weight.T, ("silu", "gated"), "float32", tier, rng)
    norm = Norm(Vector(k, "float32", tier), 1e-5)
    args = [laid(x), to_block_order(scale), *tensors, np.zeros((1, outputs), np.float32)]
    *_, y = run_kernel(page, matvec(storage, tier, norm=norm, folded=fold), tier, args)
    return y, expected


def prefill(page: Any, kind: str, tier: Tier) -> Pair:
    """A product of a few tokens, with a residual."""
    rng, n, outputs, k = np.random.default_rng(5), 11, 68, 512
    storage, tensors, weight = stored(kind, tier, outputs, k, 6)
    x = rng.standard_normal((n, k)).astype(np.float32)
    expected, more, fold = folded(x @ weight.T, ("residual",), "float32", tier, rng)
    args = [x, *tensors, *more, np.zeros((n, outputs), np.float32)]
    *_, y = run_kernel(page, matmul(storage, tier, folded=fold), tier, args, n=n)
    return y, expected


def prefill_int8(page: Any, kind: str, tier: Tier) -> Pair:
    """A gated product of a few tokens that are rounded to int8; what is expected is of the rounded ones."""
    rng, n, outputs, k = np.random.default_rng(7), 9, 36, 768
    codes, scales = int8_rows(rng.standard_normal((n, k)).astype(np.float32))
    storage, tensors, weight = stored(kind, tier, 2 * outputs, k, 8)
    assert isinstance(storage, GroupQuantized)
    product = (codes * scales[..., None]).reshape(n, -1) @ weight.T
    expected, more, fold = folded(product, ("silu", "gated"), "float32", tier, rng)
    words = int8_words(codes, paired=in_pairs(storage))
    args = [words, scales, *tensors, *more, np.zeros((n, outputs), np.float32)]
    *_, y = run_kernel(page, matmul_int8(storage, folded=fold), tier, args, n=n)
    return y, expected


def prefill_matrix(page: Any, kind: str, tier: Tier) -> Pair:
    """A product of a few tokens on subgroup matrices, which are spelled out."""
    rng, n, outputs, k = np.random.default_rng(9), 7, 36, 256
    x = rng.standard_normal((n, k)).astype(np.float32)
    storage, tensors, weight = stored(kind, tier, outputs, k, 10)
    assert isinstance(storage, GroupQuantized)
    expected, more, fold = folded(x @ weight.T, ("residual",), "float32", tier, rng)
    args = [half_words(x), *tensors, *more, np.zeros((n, outputs), np.float32)]
    func = spelled_out(lower_kernel("test_kernel", matmul_matrix(storage, folded=fold), tier))
    *_, y = run_lowered(page, func, tier, args, SPELLED_OUT_NEEDS, n=n)
    return y, expected
