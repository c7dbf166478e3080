"""The CPU tier's float kernels: products of every storage, embeddings and norms, against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.synthetic.gguf_types import FLOATS, QUANTIZED, block_size
from mlcweb.kernels.choice.tier import BASE
from mlcweb.kernels.cpu.embed import embed
from mlcweb.kernels.cpu.norm import normalize
from mlcweb.kernels.cpu.product import product
from mlcweb.kernels.layouts.pieces import Piece
from mlcweb.kernels.layouts.storage import Values, Vector, WholeMatrix
from mlcweb.kernels.products.matvec import Norm
from mlcweb.quantize.block_order import to_block_order
from mlcweb.quantize.schemes import SCHEMES
from tests.support.browser.cpu_kernels import run_cpu
from tests.support.browser.gguf_kernels import stored as gguf_stored
from tests.support.browser.kernel_page import stored
from tests.support.browser.kernel_values import close, folded

ROWS = 46


def matrix(kind: str) -> tuple[WholeMatrix, list[np.ndarray], np.ndarray]:
    """A matrix of a GGUF type or of one of MLC's schemes: its storage, its buffers and its values."""
    if kind not in SCHEMES:
        k = 96 if kind in FLOATS else {32: 96, 256: 512}[block_size(kind)]
        return gguf_stored(kind, BASE, ROWS, k, 4)
    return stored(np.random.default_rng(5).standard_normal((ROWS, 100)), SCHEMES[kind], BASE)


KINDS = [*FLOATS, *QUANTIZED, "q3f16_1", "q3f32_1", "q4f16_1", "q8f32_1", "q0f16", "q0f32"]


@pytest.mark.parametrize(("n", "fused"), [(1, ("silu", "gated")), (6, ("bias", "gelu_tanh", "residual"))])
@pytest.mark.parametrize("kind", KINDS)
def test_product(kind: str, n: int, fused: tuple[str, ...], gpu_page: Any) -> None:
    rng = np.random.default_rng(6)
    storage, tensors, weight = matrix(kind)
    x = rng.standard_normal((n, weight.shape[1])).astype(np.float32)
    expected, more, fold = folded(x @ weight.T, fused, "float32", BASE, rng)
    func = product(storage, folded=fold, decode=n == 1)
    y = np.full_like(expected, np.nan, np.float32)
    close(run_cpu(gpu_page, func, [x, *tensors, *more, y], n=n)[-1], expected, 2e-5)


@pytest.mark.parametrize("relaxed", [False, True])
@pytest.mark.parametrize("fused", [("cap",), ("sigmoid", "bias"), ("bias", "silu", "gated", "residual")])
@pytest.mark.parametrize("rows", [2, 6, 40])
def test_what_is_folded_in(rows: int, fused: tuple[str, ...], relaxed: bool, gpu_page: Any) -> None:
    rng = np.random.default_rng(rows)
    weight, x = rng.standard_normal((rows, 64)), rng.standard_normal((5, 64)).astype(np.float32)
    storage, tensors, weight = stored(weight, SCHEMES["q0f32"], BASE)
    expected, more, fold = folded(x @ weight.T, fused, "float32", BASE, rng)
    y = np.full_like(expected, np.nan, np.float32)
    args = [x, *tensors, *more, y]
    close(run_cpu(gpu_page, product(storage, folded=fold), args, relaxed=relaxed, n=5)[-1], expected, 2e-5)


@pytest.mark.parametrize("gated", [False, True])
def test_pieces_write_one_output(gated: bool, gpu_page: Any) -> None:
    """The second of two pieces, with a bias that is of the whole."""
    rng, whole, own = np.random.default_rng(8), 24, range(16, 24)
    fused = ("bias", "silu", "gated") if gated else ("bias",)
    weight = rng.standard_normal((2 * whole if gated else whole, 64)).astype(np.float32)
    rows = [*own, *(row + whole for row in own)] if gated else [*own]
    x = rng.standard_normal((3, 64)).astype(np.float32)
    expected, more, fold = folded(x @ weight.T, fused, "float32", BASE, rng)
    storage, tensors, _ = stored(weight[rows], SCHEMES["q0f32"], BASE)
    y = np.full((3, whole), 7, np.float32)
    func = product(storage, folded=fold, piece=Piece(own.start, whole))
    found = run_cpu(gpu_page, func, [x, *tensors, *more, y], n=3)[-1]
    close(found[:, own.start :], expected[:, own.start :], 2e-5)
    assert (found[:, : own.start] == 7).all()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_the_embedding_are_the_stored_values(kind: str, gpu_page: Any) -> None:
    storage, tensors, weight = matrix(kind)
    ids = np.array([3, 45, 0, 99, 3], np.int32)  # one past the end: the last
    out = np.zeros((5, weight.shape[1]), np.float32)
    x = run_cpu(gpu_page, embed(storage, prefill=True), [ids, *tensors, out], n=5)[-1]
    np.testing.assert_array_equal(x, weight[[3, 45, 0, 45, 3]])


def test_embedding_of_decode_with_positions(gpu_page: Any) -> None:
    rng = np.random.default_rng(2)
    table, positions = (rng.standard_normal((20, 64)).astype(np.float32) for _ in range(2))
    state = np.array([9, 4, 0, 0, 0, 0, 0, 0], np.int32)
    storage = Values(table.shape, "float32", BASE)
    func = embed(storage, prefill=False, scale=8.0, positions=storage)
    x = run_cpu(gpu_page, func, [state, table, positions, np.zeros((1, 64), np.float32)])[-1]
    np.testing.assert_allclose(x, 8 * table[[4]] + positions[[9]], rtol=1e-6)
    func = embed(storage, prefill=True, positions=storage)
    ids = np.array([1, 0, 19], np.int32)
    x = run_cpu(gpu_page, func, [ids, table, state, positions, np.zeros((3, 64), np.float32)], n=3)[-1]
    np.testing.assert_allclose(x, table[ids] + positions[9:12], rtol=1e-6)


def test_embedding_of_pieces_and_images(gpu_page: Any) -> None:
    rng = np.random.default_rng(3)
    table, images = (rng.standard_normal(shape).astype(np.float32) for shape in ((20, 32), (4, 40)))
    ids, out = np.array([12, -2, 19, 3], np.int32), np.full((4, 32), 7, np.float32)
    lower, upper = (Values((10, 32), "float32", BASE) for _ in range(2))
    func = embed(upper, prefill=True, images=40, piece=Piece(10, 20))
    x = run_cpu(gpu_page, func, [ids, table[10:], images, out], n=4)[-1]
    np.testing.assert_array_equal(x, np.stack([table[12], images[1, :32], table[19], out[3]]))
    func = embed(lower, prefill=True, images=40, piece=Piece(0, 20))
    x = run_cpu(gpu_page, func, [ids, table[:10], images, x], n=4)[-1]
    np.testing.assert_array_equal(x, np.stack([table[12], images[1, :32], table[19], table[3]]))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("options", [{}, {"residual": True}, {"last_row": True}, {"decode": True}], ids=str)
def test_norm(dtype: str, centered: bool, options: dict[str, bool], gpu_page: Any) -> None:
    rng, width, n = np.random.default_rng(7), 576, 1 if "decode" in options else 5
    x, residual = (rng.standard_normal((n, width)).astype(np.float32) + 0.5 for _ in range(2))
    weight, bias = (rng.standard_normal((1, width)).astype(dtype) for _ in range(2))
    stored_weight, stored_bias = (Vector(width, dtype, BASE) for _ in range(2))
    norm = Norm(stored_weight, 1e-5, centered, stored_bias if centered else None)
    middle = x.mean(-1, keepdims=True) if centered else 0
    expected = (x - middle) / np.sqrt(((x - middle) ** 2).mean(-1, keepdims=True) + 1e-5) * weight
    args = [x, to_block_order(weight)]
    if centered:
        expected = expected + bias
        args.append(to_block_order(bias))
    rows = slice(-1, None) if "last_row" in options else slice(None)
    if "residual" in options:
        expected = expected + residual
        args.append(residual)
    func = normalize(norm, scale=Values((1, 1), "float32", BASE), **options)
    args += [np.array([[1.5]], np.float32), np.zeros_like(x[rows])]
    close(run_cpu(gpu_page, func, args, n=n)[-1], 1.5 * expected[rows].astype(np.float32), 2e-6)
