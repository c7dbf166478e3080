"""The gated delta rule and norms of spans against numpy in float64, a token at a time and in chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlcweb.contract.constants import State
from mlcweb.kernels.choice.tier import BASE, F16, SUBGROUPS, Tier
from mlcweb.kernels.layouts.block_order import offset
from mlcweb.kernels.layouts.storage import Values
from mlcweb.kernels.norms.span_norm import add_norm_of_span, norm_spans
from mlcweb.kernels.recurrent.delta_mix import MIX, delta_mix
from mlcweb.kernels.recurrent.gated_delta import GatedDelta, gated_delta
from mlcweb.kernels.recurrent.gated_delta_chunk import gated_delta_chunk
from tests.support.browser.kernel_page import run_kernel

VARIANTS = [("stock", "float32", BASE), ("stock", "float16", SUBGROUPS), ("f16", "float16", F16)]


def expected(
    qkv: np.ndarray,
    ba: np.ndarray,
    rate: np.ndarray,
    shift: np.ndarray,
    heads: int,
    key_heads: int,
    keys: int,
) -> np.ndarray:
    """o ``[T, H * V]`` of all tokens from the first on, by the rule as it is written."""
    count = len(qkv)
    q, k = (
        qkv[:, i * key_heads * keys : (i + 1) * key_heads * keys].reshape(count, key_heads, keys)
        for i in (0, 1)
    )
    v = qkv[:, 2 * key_heads * keys :].reshape(count, heads, -1)
    q, k = (x / np.sqrt((x**2).sum(-1, keepdims=True) + 1e-6) for x in (q, k))
    q, k = (np.repeat(x, heads // key_heads, axis=1) for x in (q * keys**-0.5, k))
    b = 1 / (1 + np.exp(-ba[:, :heads]))
    g = -np.exp(rate) * np.log1p(np.exp(ba[:, heads:] + shift))
    state, out = np.zeros((heads, keys, v.shape[-1])), []
    for t in range(count):
        state *= np.exp(g[t])[:, None, None]
        seen = np.einsum("hkv,hk->hv", state, k[t])
        state += k[t][:, :, None] * ((v[t] - seen) * b[t][:, None])[:, None, :]
        out.append(np.einsum("hkv,hk->hv", state, q[t]).reshape(-1))
    return np.array(out)


@pytest.mark.parametrize(("browser", "dtype", "tier"), VARIANTS)
@pytest.mark.parametrize(
    ("heads", "key_heads", "keys", "values", "chunks"),
    [
        (4, 2, 32, 48, [5, 1, 1, 9]),  # heads share keys; values in a workgroup and a half
        (2, 2, 128, 128, [3, 40, 1, 16]),
        (3, 1, 16, 16, [1, 1, 2]),
    ],
)
def test_gated_delta(
    kernel_page: Any,
    dtype: str,
    tier: Tier,
    heads: int,
    key_heads: int,
    keys: int,
    values: int,
    chunks: list[int],
) -> None:
    rng = np.random.default_rng(heads * keys)
    rate, shift = (rng.standard_normal((1, heads)).astype(dtype) for _ in range(2))
    stored = [Values(array.shape, dtype, tier) for array in (rate, shift)]
    delta = GatedDelta(heads, key_heads, keys, values, *stored)
    qkv = rng.standard_normal((sum(chunks), delta.width)).astype(np.float32)
    ba = (2 * rng.standard_normal((sum(chunks), 2 * heads))).astype(np.float32)
    ba[0, heads] = 100.0  # whose exponential is no float32
    wide = [array.astype(np.float64) for array in (qkv, ba, rate, shift)]
    wanted = expected(*wide, heads, key_heads, keys)
    actual = run_chunks(kernel_page, tier, delta, [qkv, ba, rate, shift], chunks)
    np.testing.assert_allclose(actual, wanted, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("browser", "dtype", "tier"), VARIANTS[:1])
@pytest.mark.parametrize(("b", "a"), [(9.0, -20.0), (9.0, 20.0), (0.0, -3.0)])
def test_the_same_key_again_and_again(kernel_page: Any, dtype: str, tier: Tier, b: float, a: float) -> None:
    """As a text that repeats a word: what is corrected depends on all corrections before, with or without decay."""
    rng = np.random.default_rng(3)
    rate, shift = np.full((1, 2), 2.0, dtype), np.zeros((1, 2), dtype)
    delta = GatedDelta(2, 1, 32, 32, *(Values((1, 2), dtype, tier) for _ in range(2)))
    qkv = rng.standard_normal((50, delta.width)).astype(np.float32)
    qkv[:, 32:64] = qkv[0, 32:64] * rng.uniform(0.1, 10, (50, 1))
    ba = np.tile(np.float32([b, b, a, a]), (50, 1))
    wanted = expected(*(array.astype(np.float64) for array in (qkv, ba, rate, shift)), 2, 1, 32)
    actual = run_chunks(kernel_page, tier, delta, [qkv, ba, rate, shift], [33, 1, 16])
    np.testing.assert_allclose(actual, wanted, rtol=2e-5, atol=2e-5)


def run_chunks(
    page: Any, tier: Tier, delta: GatedDelta, arrays: list[np.ndarray], chunks: list[int]
) -> np.ndarray:
    """o of all tokens: chunks in a prefill, but a step for one token that is not the first. ``arrays``: qkv, ba,
    rate and shift.
    """
    qkv, ba, rate, shift = arrays
    recurrent = np.full(delta.state_shape, np.nan, np.float32)  # what another conversation left
    position, parts = 0, []
    for count in chunks:
        fed = slice(position, position + count)
        state = np.zeros(State.WORDS, np.int32)
        state[State.POSITION] = position
        o = np.zeros((count, delta.heads * delta.value_width), np.float32)
        tokens, kept = [qkv[fed], ba[fed], rate, shift], [state, recurrent, o]
        if count == 1 and position > 0:
            *_, recurrent, o = run_kernel(page, gated_delta(delta), tier, [*tokens, *kept])
        else:
            empty = np.zeros((count, delta.heads * MIX), np.float32)
            *_, mix = run_kernel(page, delta_mix(delta), tier, [*tokens, empty], n=count)
            chunk = gated_delta_chunk(delta)
            *_, recurrent, o = run_kernel(page, chunk, tier, [qkv[fed], mix, *kept], n=count)
        parts.append(o)
        position += count
    return np.concatenate(parts)


@pytest.mark.parametrize(("browser", "dtype", "tier"), VARIANTS)
@pytest.mark.parametrize(("spans", "width", "n"), [(3, 128, 4), (16, 32, 1), (2, 300, 2)])
def test_norm_spans(kernel_page: Any, dtype: str, tier: Tier, spans: int, width: int, n: int) -> None:
    rng = np.random.default_rng(width)
    x = (rng.standard_normal((n, spans * width)) * 10.0 ** rng.uniform(-2, 1, (n, 1))).astype(np.float32)
    weight = rng.standard_normal((1, width)).astype(dtype)
    decode = n == 1
    func = norm_spans(Values(weight.shape, dtype, tier), spans, 1e-3, tier, decode=decode, block_order=decode)
    *_, actual = run_kernel(kernel_page, func, tier, [x, weight, np.zeros_like(x)], n=n)
    parts = x.astype(np.float64).reshape(n, spans, width)
    wanted = parts / np.sqrt((parts**2).mean(-1, keepdims=True) + 1e-3) * weight.astype(np.float64)
    if decode:
        actual = actual[:, [int(offset(i, spans * width)) for i in range(spans * width)]]
    np.testing.assert_allclose(actual, wanted.reshape(n, -1), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("browser", "dtype", "tier"), VARIANTS)
@pytest.mark.parametrize(("spans", "width", "n", "span"), [(3, 128, 4, 2), (16, 32, 1, 5), (2, 300, 2, 0)])
def test_add_norm_of_span(
    kernel_page: Any, dtype: str, tier: Tier, spans: int, width: int, n: int, span: int
) -> None:
    rng = np.random.default_rng(width)
    x, other = rng.standard_normal((2, n, spans * width)).astype(np.float32)
    weight, decode = rng.standard_normal((1, width)).astype(dtype), n == 1
    stored = Values(weight.shape, dtype, tier)
    func = add_norm_of_span(stored, spans, 1e-3, 0.7, tier, decode=decode, block_order=decode)
    place = np.zeros(1, np.int32)  # of the number, which is no buffer
    given = [x, weight, other, place, np.zeros((n, width), np.float32)]
    *_, actual = run_kernel(kernel_page, func, tier, given, n=n, span=span)
    part, added = (array.astype(np.float64).reshape(n, spans, width)[:, span] for array in (x, other))
    normed = part / np.sqrt((part**2).mean(-1, keepdims=True) + 1e-3) * weight.astype(np.float64)
    if decode:
        actual = actual[:, [int(offset(i, width)) for i in range(width)]]
    np.testing.assert_allclose(actual, added + 0.7 * normed, rtol=2e-5, atol=2e-5)
