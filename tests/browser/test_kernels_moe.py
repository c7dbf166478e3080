"""A mixture of experts against numpy, kernel by kernel: the choice, the grouping, the products of a range, the sum.

Expected values are computed token by token. A range has some of the experts, so chosen ones are in it or not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlcweb.kernels.choice.choose import matmul, matvec, uses_block_order
from mlcweb.kernels.choice.tier import BASE, F16, F16_SUBGROUPS, SOFTWARE, SUBGROUPS, Tier
from mlcweb.kernels.experts.route import combine, group, route
from mlcweb.kernels.experts.shared import add_scaled
from mlcweb.kernels.experts.weights import ChosenExperts, ExpertRange, expert_ranges
from mlcweb.kernels.layouts.storage import Values, Vector
from mlcweb.kernels.products.matmul import NARROW, WIDE, Tile
from mlcweb.kernels.products.matmul_int8 import ROWS, in_pairs, matmul_int8
from mlcweb.kernels.products.matvec import Norm, Vectors
from mlcweb.kernels.products.outputs import ClampedSwiGLU, Folded
from mlcweb.lower import lower_kernel
from mlcweb.quantize import get_scheme
from mlcweb.quantize.block_order import to_block_order
from tests.support.browser.kernel_page import run_kernel, run_lowered, stored
from tests.support.browser.kernel_values import close, int8_rows, int8_words, on

HIDDEN, INNER = 96, 132
GATED = Folded(activation="silu", gated=True)
IN_BLOCK_ORDER = Vectors(y_block_order=True)


def silu_product(y: np.ndarray) -> np.ndarray:
    gate, up = np.split(y, 2, axis=1)
    return gate / (1 + np.exp(-gate)) * up


def chosen(logits: np.ndarray, experts_per_token: int) -> tuple[np.ndarray, np.ndarray]:
    """Experts of the largest logits, the first of equals, and the softmax over theirs."""
    ids = np.argsort(-logits, axis=1, kind="stable")[:, :experts_per_token].astype(np.int32)
    top = np.take_along_axis(logits, ids, 1)
    shares = np.exp(top - top.max(1, keepdims=True))
    return ids, (shares / shares.sum(1, keepdims=True)).astype(np.float32)


def slots_of(ids: np.ndarray, experts: int, rows: int) -> np.ndarray:
    """The pairs of each expert in order, padded to tiles, then nothing."""
    pairs = ids.size
    slots = np.full((pairs + experts * (rows - 1)) // rows * rows, -1, np.int32)
    at = 0
    for expert in range(experts):
        mine = np.flatnonzero(ids.ravel() == expert)
        slots[at : at + len(mine)] = mine
        at += -(-len(mine) // rows) * rows
    return slots


def tokens_ids(n: int, experts: int, experts_per_token: int, *, same: bool = False) -> np.ndarray:
    """Distinct experts for each token, or the same ones for all."""
    rng = np.random.default_rng(n)
    rows = [rng.permutation(experts)[:experts_per_token] for _ in range(1 if same else n)]
    return np.broadcast_to(np.array(rows, np.int32), (n, experts_per_token)).copy()


@pytest.mark.parametrize(
    ("browser", "scheme", "tier"),
    [
        *on("stock f16", SUBGROUPS, "q0f32"),
        *on("stock", BASE, "q0f16"),
        *on("f16", F16_SUBGROUPS, "q0f16"),
    ],
)
@pytest.mark.parametrize(
    ("experts", "experts_per_token", "width", "n"),
    [(8, 2, 576, 33), (4, 2, 100, 5), (64, 6, 96, 3), (128, 8, 96, 5)],
)
def test_route(
    kernel_page: Any, scheme: str, tier: Tier, experts: int, experts_per_token: int, width: int, n: int
) -> None:
    dtype, rng = get_scheme(scheme).activation, np.random.default_rng(experts)
    x = rng.standard_normal((n, width)).astype(np.float32)
    weight = rng.standard_normal((experts, width)).astype(dtype)
    weight[3] = weight[1] = weight[1] + weight[0]  # a tie, of experts that are often chosen
    router, logits = Values((experts, width), dtype, tier), x @ weight.T.astype(np.float32)
    logits[:, 3] = logits[:, 1]
    ids, shares = chosen(logits, experts_per_token)
    assert (ids == 1).sum() > (ids == 3).sum() or n < 10
    outs = [np.zeros_like(ids), np.zeros_like(shares)]
    *_, actual, weights = run_kernel(
        kernel_page, route(router, experts_per_token, tier), tier, [x, weight, *outs], n=n
    )
    np.testing.assert_array_equal(actual, ids)
    close(weights, shares, 1e-4)

    kernel = route(router, experts_per_token, tier, normalized=False)
    *_, actual, weights = run_kernel(kernel_page, kernel, tier, [x, weight, *outs], n=n)
    np.testing.assert_array_equal(actual, ids)
    top = np.exp(logits - logits.max(1, keepdims=True))
    close(weights, np.take_along_axis(top / top.sum(1, keepdims=True), ids, 1), 1e-4)

    scale = (1 + 0.1 * rng.standard_normal(width)).astype(dtype)
    norm = Norm(Vector(width, dtype, tier), 1e-5)
    normed = x[:1] / np.sqrt((x[:1] ** 2).mean() + 1e-5) * scale.astype(np.float32)
    logits = normed @ weight.T.astype(np.float32)
    logits[:, 3] = logits[:, 1]
    ids, shares = chosen(logits, experts_per_token)
    func = route(router, experts_per_token, tier, norm=norm, block_order=True)
    args = [to_block_order(x[:1]), to_block_order(scale), weight, np.zeros_like(ids), np.zeros_like(shares)]
    *_, actual, weights = run_kernel(kernel_page, func, tier, args)
    np.testing.assert_array_equal(actual, ids)
    close(weights, shares, 1e-4)


@pytest.mark.parametrize(("browser", "tier"), on("stock f16", BASE))
@pytest.mark.parametrize(
    ("experts", "experts_per_token", "rows"),
    [(8, 2, 32), (4, 2, 64), (60, 4, 64), (64, 6, 64), (128, 8, 64), (256, 8, 64), (512, 10, 64)],
)
def test_group(kernel_page: Any, tier: Tier, experts: int, experts_per_token: int, rows: int) -> None:
    kernel = lower_kernel("grouped", group(experts, experts_per_token, rows), tier)
    for n in (1, 5, 33, 100, 1000):
        for same in (False, True):
            ids = tokens_ids(n, experts, experts_per_token, same=same)
            expected = slots_of(ids, experts, rows)
            actual = run_lowered(kernel_page, kernel, tier, [ids, np.full_like(expected, 7)], n=n)[1]
            np.testing.assert_array_equal(actual, expected, str((n, same)))


DECODE = [
    *on("stock f16", SUBGROUPS, "q4f32_1"),
    *on("stock", BASE, "q4f16_1"),
    *on("f16", F16_SUBGROUPS, "q4f16_1"),
    *on("stock", SOFTWARE, "q4f32_1"),
    *on("f16", SUBGROUPS, "q0f32"),
    *on("stock", SUBGROUPS, "q3f16_1"),
]


@pytest.mark.parametrize(("browser", "scheme", "tier"), DECODE)
def test_decode_of_a_range(kernel_page: Any, scheme: str, tier: Tier) -> None:
    rng, quant = np.random.default_rng(7), get_scheme(scheme)
    experts, experts_per_token = (4 if tier.subgroups else 8), 2
    span = ExpertRange(first=1, count=experts // 2, total=experts, experts_per_token=experts_per_token)
    laid = to_block_order if uses_block_order(tier) else np.array
    x, scale = rng.standard_normal((1, HIDDEN)).astype(np.float32), np.ones(HIDDEN, quant.activation)
    normed = x / np.sqrt((x**2).mean() + 1e-5)
    weight = rng.standard_normal((span.count * 2 * INNER, HIDDEN)) * 0.1
    storage, tensors, dequantized = stored(weight, quant, tier)
    gate_up = dequantized.reshape(span.count, 2 * INNER, HIDDEN)
    norm = Norm(Vector(HIDDEN, quant.activation, tier), 1e-5)
    func = matvec(storage, tier, norm=norm, folded=GATED, vectors=IN_BLOCK_ORDER, experts=ChosenExperts(span))
    first = lower_kernel("gate_up", func, tier)

    weight = rng.standard_normal((span.count * HIDDEN, INNER)) * 0.1
    storage, down_tensors, dequantized = stored(weight, quant, tier)
    down = dequantized.reshape(span.count, HIDDEN, INNER)
    hidden = rng.standard_normal((experts_per_token, INNER)).astype(np.float32)
    shares = np.array([[0.75, 0.25]], np.float32)
    mixed, more = ChosenExperts(span, mixed=True), ChosenExperts(span, mixed=True, in_place=True)
    added = Folded(joined="added")
    func = matvec(storage, tier, folded=added, vectors=IN_BLOCK_ORDER, experts=mixed)
    second = lower_kernel("down", func, tier)
    third = lower_kernel("more", matvec(storage, tier, vectors=IN_BLOCK_ORDER, experts=more), tier)

    for pair in ((1, 2), (2, 0), (0, experts - 1)):  # both are in the range, one, none
        ids = np.array([pair], np.int32)
        inside = [span.first <= e < span.first + span.count for e in pair]
        expected = np.full((experts_per_token, INNER), 7, np.float32)
        total = x.copy()
        for j, e in enumerate(pair):
            if inside[j]:
                expected[j] = laid(silu_product(normed @ gate_up[e - span.first].T))[0]
                total += shares[0, j] * (hidden[j] @ down[e - span.first].T)
        args = [laid(x), laid(scale), *tensors, ids, np.full_like(expected, 7)]
        *_, y = run_lowered(kernel_page, first, tier, args)
        close(y, expected, 2e-5)
        rows = np.concatenate([laid(row[None]) for row in hidden])
        args = [rows, *down_tensors, ids, shares, laid(x), np.zeros_like(x)]
        *_, y = run_lowered(kernel_page, second, tier, args)
        close(y, laid(total), 2e-5)
        *_, y = run_lowered(kernel_page, third, tier, [rows, *down_tensors, ids, shares, laid(x)])
        close(y, laid(total), 2e-5)


@pytest.mark.parametrize(
    ("browser", "scheme", "tier", "experts", "tile"),
    [
        pytest.param(*case.values, experts, tile, id=f"{case.id}-{experts}")
        for experts, tile, cases in (
            (8, NARROW, [*on("stock f16", BASE, "q4f32_1"), *on("f16", F16, "q4f16_1")]),
            (
                4,
                WIDE,
                [*on("f16", SOFTWARE, "q4f16_1"), *on("f16", F16, "q0f16"), *on("stock", BASE, "q0f16")],
            ),
        )
        for case in cases
    ],
)
def test_prefill_of_a_range(kernel_page: Any, scheme: str, tier: Tier, experts: int, tile: Tile) -> None:
    rng, quant, experts_per_token = np.random.default_rng(9), get_scheme(scheme), 2
    span = ExpertRange(first=1, count=experts // 2, total=experts, experts_per_token=experts_per_token)
    weight = rng.standard_normal((span.count * 2 * INNER, HIDDEN)) * 0.1
    storage, tensors, dequantized = stored(weight, quant, tier)
    gate_up = dequantized.reshape(span.count, 2 * INNER, HIDDEN)
    func = matmul(storage, tier, folded=GATED, tile=tile, experts=span)
    first = lower_kernel("gate_up", func, tier)
    weight = rng.standard_normal((span.count * HIDDEN, INNER)) * 0.1
    storage, down_tensors, dequantized = stored(weight, quant, tier)
    down = dequantized.reshape(span.count, HIDDEN, INNER)
    second = lower_kernel("down", matmul(storage, tier, tile=tile, experts=span, from_pairs=True), tier)
    tolerance = 3e-3 if tier.f16 else 2e-5
    for n, same in ((1, False), (5, False), (33, True), (100, False)):
        ids = tokens_ids(n, experts, experts_per_token, same=same)
        slots = slots_of(ids, experts, tile.rows)
        x = rng.standard_normal((n, HIDDEN)).astype(np.float32)
        hidden = rng.standard_normal((n * experts_per_token, INNER)).astype(np.float32)
        expected = np.full((n * experts_per_token, INNER), 7, np.float32)
        pairs = np.full((n * experts_per_token, HIDDEN), 7, np.float32)
        for pair, e in enumerate(ids.ravel() - span.first):
            if 0 <= e < span.count:
                expected[pair] = silu_product(x[None, pair // experts_per_token] @ gate_up[e].T)
                pairs[pair] = hidden[pair] @ down[e].T
        args = [x, *tensors, ids, slots, np.full_like(expected, 7)]
        *_, y = run_lowered(kernel_page, first, tier, args, n=n)
        close(y, expected, tolerance)
        args = [hidden, *down_tensors, ids, slots, np.full_like(pairs, 7)]
        *_, y = run_lowered(kernel_page, second, tier, args, n=n)
        close(y, pairs, tolerance)


@pytest.mark.parametrize(
    ("browser", "scheme", "tier"), [*on("stock", BASE, "q4f16_1"), *on("f16", BASE, "q8f32_1")]
)
def test_int8_prefill_of_a_range(kernel_page: Any, scheme: str, tier: Tier) -> None:
    rng, experts, experts_per_token = np.random.default_rng(9), 8, 2
    span = ExpertRange(first=1, count=4, total=experts, experts_per_token=experts_per_token)
    storage, tensors, dequantized = stored(
        rng.standard_normal((span.count * 2 * INNER, HIDDEN)) * 0.1, get_scheme(scheme), tier
    )
    gate_up = dequantized.reshape(span.count, 2 * INNER, HIDDEN)
    func = matmul_int8(storage, folded=GATED, experts=span)
    kernel = lower_kernel("gate_up", func, tier)
    for n, same in ((1, False), (33, True), (100, False)):
        ids = tokens_ids(n, experts, experts_per_token, same=same)
        codes, scales = int8_rows(rng.standard_normal((n, HIDDEN)).astype(np.float32))
        x = (codes * scales[..., None]).reshape(n, HIDDEN)
        expected = np.full((n * experts_per_token, INNER), 7, np.float32)
        for pair, e in enumerate(ids.ravel() - span.first):
            if 0 <= e < span.count:
                expected[pair] = silu_product(x[None, pair // experts_per_token] @ gate_up[e].T)
        args = [
            int8_words(codes, paired=in_pairs(storage)),
            scales,
            *tensors,
            ids,
            slots_of(ids, experts, ROWS),
            np.full_like(expected, 7),
        ]
        *_, y = run_lowered(kernel_page, kernel, tier, args, n=n)
        close(y, expected, 2e-5)


@pytest.mark.parametrize(("browser", "tier"), on("stock f16", BASE))
def test_combine(kernel_page: Any, tier: Tier) -> None:
    rng, n = np.random.default_rng(1), 33
    pairs = rng.standard_normal((n * 2, 300)).astype(np.float32)
    shares = rng.random((n, 2)).astype(np.float32)
    residual = rng.standard_normal((n, 300)).astype(np.float32)
    expected = residual + (shares[..., None] * pairs.reshape(n, 2, 300)).sum(1)
    args = [pairs, shares, residual, np.zeros_like(residual)]
    *_, y = run_kernel(kernel_page, combine(300, 2), tier, args, n=n)
    close(y, expected, 1e-6)


@pytest.mark.parametrize(
    ("experts", "rows", "columns", "scheme", "counts"),
    [
        (8, 2 * 14336, 4096, "q4f16_1", [2, 2, 2, 2]),
        (8, 4096, 14336, "q4f32_1", [4, 4]),
        (8, 4096, 14336, "q0f16", [1] * 8),
        (8, 64, 96, "q0f32", [8]),
        (5, 16384, 8192, "q4f16_1", [1, 2, 2]),
    ],
)
def test_parts_are_whole_experts_within_a_binding(
    experts: int, rows: int, columns: int, scheme: str, counts: list[int]
) -> None:
    spans = expert_ranges(experts, rows, columns, get_scheme(scheme))
    assert [len(span) for span in spans] == counts
    assert [expert for span in spans for expert in span] == list(range(experts))


CLAMPED = ClampedSwiGLU(limit=0.8, steepness=1.7)


def clamped_product(y: np.ndarray) -> np.ndarray:
    gate, up = np.split(y, 2, axis=1)
    gate, up = np.minimum(gate, 0.8), np.clip(up, -0.8, 0.8)
    return gate / (1 + np.exp(-1.7 * gate)) * (up + 1)


def biases(
    rng: np.random.Generator, experts: int, width: int, dtype: str, tier: Tier
) -> tuple[Values, np.ndarray]:
    return Values((experts, width), dtype, tier), rng.standard_normal((experts, width)).astype(dtype)


@pytest.mark.parametrize(
    ("browser", "scheme", "tier"),
    [*on("stock", BASE, "q4f16_1"), *on("f16", F16_SUBGROUPS, "q4f16_1"), *on("stock", SOFTWARE, "q4f32_1")],
)
def test_experts_with_biases_and_a_clamped_swiglu(kernel_page: Any, scheme: str, tier: Tier) -> None:
    rng, quant, experts, experts_per_token = np.random.default_rng(3), get_scheme(scheme), 8, 2
    span = ExpertRange(first=1, count=4, total=experts, experts_per_token=experts_per_token)
    laid = to_block_order if uses_block_order(tier) else np.array
    storage, tensors, dequantized = stored(rng.standard_normal((4 * 2 * INNER, HIDDEN)) * 0.1, quant, tier)
    gate_up = dequantized.reshape(4, 2 * INNER, HIDDEN)
    down_storage, down_tensors, dequantized = stored(
        rng.standard_normal((4 * HIDDEN, INNER)) * 0.1, quant, tier
    )
    down = dequantized.reshape(4, HIDDEN, INNER)
    gate_up_values, gate_up_bias = biases(rng, experts, 2 * INNER, quant.activation, tier)
    down_values, down_bias = biases(rng, experts, HIDDEN, quant.activation, tier)
    gated, biased = Folded(gate_up_values, activation=CLAMPED, gated=True), Folded(down_values)
    tolerance = 3e-3 if tier.f16 else 2e-5

    def made(x: np.ndarray, e: int) -> np.ndarray:
        return clamped_product(x @ gate_up[e - 1].T + gate_up_bias[e].astype(np.float32))[0]

    def summed(hidden: np.ndarray, e: int) -> np.ndarray:
        return hidden @ down[e - 1].T + down_bias[e].astype(np.float32)

    x = rng.standard_normal((1, HIDDEN)).astype(np.float32)
    shares, pair = np.array([[0.75, 0.25]], np.float32), (2, 6)  # the second is not in the range
    ids, hidden = np.array([pair], np.int32), rng.standard_normal((2, INNER)).astype(np.float32)
    expected = np.full((2, INNER), 7, np.float32)
    expected[0] = laid(made(x, 2)[None])[0]
    func = matvec(storage, tier, folded=gated, vectors=IN_BLOCK_ORDER, experts=ChosenExperts(span))
    args = [laid(x), *tensors, gate_up_bias, ids, np.full_like(expected, 7)]
    *_, y = run_kernel(kernel_page, func, tier, args)
    close(y, expected, 2e-5)
    mixed = ChosenExperts(span, mixed=True, in_place=True)
    func = matvec(down_storage, tier, folded=biased, vectors=IN_BLOCK_ORDER, experts=mixed)
    rows = np.concatenate([laid(row[None]) for row in hidden])
    *_, y = run_kernel(kernel_page, func, tier, [rows, *down_tensors, down_bias, ids, shares, laid(x)])
    close(y, laid(x + 0.75 * summed(hidden[0], 2)), 2e-5)

    n = 33
    ids = tokens_ids(n, experts, experts_per_token)
    slots = slots_of(ids, experts, NARROW.rows)
    x = rng.standard_normal((n, HIDDEN)).astype(np.float32)
    hidden = rng.standard_normal((2 * n, INNER)).astype(np.float32)
    expected, pairs = np.full((2 * n, INNER), 7, np.float32), np.full((2 * n, HIDDEN), 7, np.float32)
    for at, e in enumerate(ids.ravel()):
        if 1 <= e < 5:
            expected[at], pairs[at] = made(x[None, at // 2], e), summed(hidden[at], e)
    func = matmul(storage, tier, folded=gated, tile=NARROW, experts=span)
    *_, y = run_kernel(
        kernel_page, func, tier, [x, *tensors, ids, slots, gate_up_bias, np.full_like(expected, 7)], n=n
    )
    close(y, expected, tolerance)
    func = matmul(down_storage, tier, folded=biased, tile=NARROW, experts=span, from_pairs=True)
    args = [hidden, *down_tensors, ids, slots, down_bias, np.full_like(pairs, 7)]
    *_, y = run_kernel(kernel_page, func, tier, args, n=n)
    close(y, pairs, tolerance)


@pytest.mark.parametrize(("browser", "tier"), on("stock f16", BASE))
def test_a_router_with_a_bias(kernel_page: Any, tier: Tier) -> None:
    rng, n = np.random.default_rng(5), 9
    x = rng.standard_normal((n, 96)).astype(np.float32)
    weight, bias = (rng.standard_normal(shape).astype(np.float32) for shape in ((8, 96), (1, 8)))
    bias *= 20
    ids, shares = chosen(x @ weight.T + bias, 3)
    router, values = Values((8, 96), "float32", tier), Values((1, 8), "float32", tier)
    args = [x, weight, bias, np.zeros_like(ids), np.zeros_like(shares)]
    *_, actual, weights = run_kernel(kernel_page, route(router, 3, tier, bias=values), tier, args, n=n)
    np.testing.assert_array_equal(actual, ids)
    close(weights, shares, 1e-4)


@pytest.mark.parametrize(("browser", "tier"), on("stock f16", BASE))
def test_what_every_token_has_is_added_by_its_gate(kernel_page: Any, tier: Tier) -> None:
    rng = np.random.default_rng(2)
    for n in (1, 33):
        x, residual = (rng.standard_normal((n, 300)).astype(np.float32) for _ in range(2))
        scales = rng.random((n, 4)).astype(np.float32)
        args = [x, scales, residual, np.zeros_like(x)]
        *_, y = run_kernel(kernel_page, add_scaled(300, decode=n == 1), tier, args, n=n)
        close(y, residual + scales[:, :1] * x, 1e-6)
