"""Causal convolutions against numpy: gated and not, a token at a time and in chunks, from every kind of position."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlcweb.contract.constants import State
from mlcweb.kernels.choice.tier import BASE, F16, Tier
from mlcweb.kernels.layouts.block_order import offset
from mlcweb.kernels.layouts.storage import Values
from mlcweb.kernels.recurrent.causal_conv import CausalConv, causal_conv, keep_inputs
from tests.support.browser.kernel_page import run_kernel


def expected(x: np.ndarray, taps: np.ndarray, bias: np.ndarray, gated: bool, silu: bool) -> np.ndarray:
    """y ``[T, D]`` in float64, of all tokens from the first on."""
    width = taps.shape[1]
    inputs = x[:, :width] * x[:, 2 * width :] if gated else x
    padded = np.concatenate([np.zeros((len(taps) - 1, width)), inputs])
    y = bias + sum(padded[tap : tap + len(x)] * taps[tap] for tap in range(len(taps)))
    y = y / (1 + np.exp(-y)) if silu else y
    return y * x[:, width : 2 * width] if gated else y


@pytest.mark.parametrize(
    ("browser", "dtype", "tier"),
    [("stock", "float32", BASE), ("stock", "float16", BASE), ("f16", "float16", F16)],
)
@pytest.mark.parametrize(
    ("width", "kernel", "gated", "silu", "chunks"),
    [
        (64, 3, True, False, [5, 1, 2, 7]),  # chunks shorter than the kernel, and longer
        (320, 4, False, True, [1, 1, 1, 6]),
        (36, 3, True, False, [2, 3]),  # not in blocks of 32
        (96, 2, False, False, [4, 1]),
    ],
)
def test_causal_conv(
    kernel_page: Any,
    dtype: str,
    tier: Tier,
    width: int,
    kernel: int,
    gated: bool,
    silu: bool,
    chunks: list[int],
) -> None:
    rng = np.random.default_rng(width + kernel)
    x = rng.standard_normal((sum(chunks), (3 if gated else 1) * width)).astype(np.float32)
    taps = rng.standard_normal((kernel, width)).astype(dtype)
    bias = rng.standard_normal((1, width)).astype(dtype)
    wanted = expected(x.astype(np.float64), taps.astype(np.float64), bias.astype(np.float64), gated, silu)
    stored = Values(taps.shape, dtype, tier), Values(bias.shape, dtype, tier)
    conv = CausalConv(*stored, gated=gated, activation="silu" if silu else None)
    recurrent = np.full((kernel - 1, width), np.nan, np.float32)  # what another conversation left
    position = 0
    for count in chunks:
        fed, y = x[position : position + count], np.zeros((count, width), np.float32)
        state = np.zeros(State.WORDS, np.int32)
        state[State.POSITION] = position
        decode = count == 1
        func = causal_conv(conv, decode=decode, block_order=decode)
        given = [fed, taps, bias, state, recurrent, y]
        *_, after, actual = run_kernel(kernel_page, func, tier, given, n=count)
        if decode:
            recurrent = after
            actual = actual[:, [int(offset(i, width)) for i in range(width)]]
        else:
            *_, recurrent = run_kernel(kernel_page, keep_inputs(conv), tier, [fed, state, recurrent], n=count)
        np.testing.assert_allclose(actual, wanted[position : position + count], rtol=1e-5, atol=1e-5)
        position += count
