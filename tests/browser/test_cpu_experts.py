"""The CPU tier's kernels for mixtures of experts, against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlcweb.kernels.choice.tier import BASE
from mlcweb.kernels.cpu.experts import combine, product_of_experts, route
from mlcweb.kernels.cpu.rounding import Rounded, round_rows
from mlcweb.kernels.experts.weights import ExpertRange
from mlcweb.kernels.layouts.quantized import GroupQuantized
from mlcweb.kernels.layouts.storage import Values
from mlcweb.kernels.products.outputs import Folded
from mlcweb.quantize.schemes import SCHEMES
from tests.support.browser.cpu_kernels import run_cpu
from tests.support.browser.kernel_page import stored
from tests.support.browser.kernel_values import ACTIVATIONS, close

EXPERTS, CHOSEN, K = 6, 2, 96


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("n", [1, 7])
def test_route(n: int, normalized: bool, gpu_page: Any) -> None:
    rng = np.random.default_rng(n)
    x, router = (rng.standard_normal((rows, K)).astype(np.float32) for rows in (n, EXPERTS))
    bias = rng.standard_normal((1, EXPERTS)).astype(np.float32)
    router[4] = router[1]
    bias[0, 4] = bias[0, 1]  # equals: the first is chosen before the second
    weight, more = Values(router.shape, "float32", BASE), Values(bias.shape, "float32", BASE)
    func = route(weight, CHOSEN, normalized=normalized, decode=n == 1, bias=more)
    out = [np.zeros((n, size), dtype) for size, dtype in ((EXPERTS, "f4"), (CHOSEN, "i4"), (CHOSEN, "f4"))]
    *_, ids, shares = run_cpu(gpu_page, func, [x, router, bias, *out], n=n)
    logits = (x[:, None] * router.astype(np.float64)).sum(-1) + bias  # not BLAS, where equals may differ
    expected = np.argsort(-logits, axis=1, kind="stable")[:, :CHOSEN]
    np.testing.assert_array_equal(ids, expected)
    parts = np.exp(np.take_along_axis(logits, expected, 1))
    total = parts if normalized else np.exp(logits)
    np.testing.assert_allclose(shares, parts / total.sum(1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("relaxed", [False, True], ids=["simd", "relaxed"])
@pytest.mark.parametrize("from_pairs", [False, True], ids=["tokens", "pairs"])
@pytest.mark.parametrize("scheme", ["q0f32", "q4f16_1", "q3f32_1"])
@pytest.mark.parametrize("n", [1, 5])
def test_products_of_a_range(n: int, scheme: str, from_pairs: bool, relaxed: bool, gpu_page: Any) -> None:
    """Experts 2 to 4 of 6: pairs of others are left as they are."""
    rng, outputs, own = np.random.default_rng(3), 38, range(2, 5)
    rows = n * CHOSEN if from_pairs else n
    x = rng.standard_normal((rows, K)).astype(np.float32)
    ids = np.stack([rng.permutation(EXPERTS)[:CHOSEN] for _ in range(n)]).astype(np.int32)
    ids[0] = 3, 5
    bias = rng.standard_normal((EXPERTS, 2 * outputs)).astype(np.float32)
    drawn = rng.standard_normal((len(own) * 2 * outputs, K))
    storage, tensors, weight = stored(drawn, SCHEMES[scheme], BASE)
    rounds = isinstance(storage, GroupQuantized) and storage.form.planes == (4,)
    given = [x]
    if rounds:
        how = Rounded.of(storage.form, relaxed)
        sizes = [((rows, how.words(K)), "u4"), ((rows, K // 32), "f4"), ((rows, K // 8), "i4")]
        given = run_cpu(gpu_page, round_rows(K, how), [x, *(np.zeros(*size) for size in sizes)], n=rows)[1:]
        codes = given[0].view(np.int16 if how.wide else np.int8).reshape(-1)[: rows * K]
        codes = codes.reshape(rows, -1, 2, 16).swapaxes(-1, -2).reshape(rows, -1, 32)
        x = (codes * given[1][..., None]).reshape(rows, K)
    experts = ExpertRange(own.start, len(own), EXPERTS, CHOSEN)
    folded = Folded(Values(bias.shape, "float32", BASE), activation="silu", gated=True)
    options = {"rounds": rounds, "relaxed": relaxed, "folded": folded, "decode": n == 1}
    func = product_of_experts(storage, experts, from_pairs=from_pairs, **options)
    y = np.full((n * CHOSEN, outputs), 7, np.float32)
    found = run_cpu(gpu_page, func, [*given, *tensors, ids, bias, y], relaxed=relaxed, n=n)[-1]
    expected = y.copy()
    for pair, expert in enumerate(ids.reshape(-1)):
        if expert in own:
            matrix = weight.reshape(len(own), 2 * outputs, K)[expert - own.start]
            gate, up = np.split(matrix @ x[pair if from_pairs else pair // CHOSEN] + bias[expert], 2)
            expected[pair] = ACTIVATIONS["silu"](gate) * up
    close(found, expected, 2e-5)


@pytest.mark.parametrize("n", [1, 3])
def test_combine(n: int, gpu_page: Any) -> None:
    rng = np.random.default_rng(5)
    shapes = ((n * CHOSEN, 64), (n, CHOSEN), (n, 64))
    pairs, shares, residual = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    func = combine(64, CHOSEN, decode=n == 1)
    y = run_cpu(gpu_page, func, [pairs, shares, residual, np.zeros((n, 64), np.float32)], n=n)[-1]
    expected = residual + (pairs.reshape(n, CHOSEN, 64) * shares[..., None]).sum(1)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
