"""What tests of kernels share: which browsers run a tier, values for what is folded into a product, and packing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mlcweb.kernels.choice.tier import BASE, F16_SUBGROUPS, SUBGROUPS, Tier
from mlcweb.kernels.layouts.storage import Values
from mlcweb.kernels.products.outputs import Folded


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


NORM = [*on("stock f16", SUBGROUPS), *on("stock f16", BASE), *on("f16", F16_SUBGROUPS)]


def close(actual: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= tolerance * max(1.0, float(np.abs(expected).max()))


ACTIVATIONS = {
    "silu": lambda x: x / (1 + np.exp(-x)),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "gelu": lambda x: x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "gelu_tanh": lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
}


def folded(
    y: np.ndarray, fused: tuple[str, ...], dtype: str, tier: Tier, rng: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray], Folded]:
    """A product's sums with what is folded in: the result, the kernel's arguments for it, and its ``Folded``."""
    args, options = list[np.ndarray](), dict[str, Any]()
    if "bias" in fused:
        args.append(rng.standard_normal((1, y.shape[1])).astype(dtype))
        y, options["bias"] = y + args[-1], Values((1, y.shape[1]), dtype, tier)
    gate, up = np.split(y, 2, axis=1) if "gated" in fused else (y, 1.0)
    for name in set(fused) & set(ACTIVATIONS):
        gate, options["activation"] = ACTIVATIONS[name](gate), name
    options["gated"] = "gated" in fused
    y = gate * up
    if "cap" in fused:
        y, options["cap"] = 2 * np.tanh(y / 2), 2.0
    if "residual" in fused:
        args.append(rng.standard_normal(y.shape).astype(np.float32))
        y, options["joined"] = y + args[-1], "added"
    return y, args, Folded(**options)


def int8_rows(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x [n, K], padded with zeros to whole groups, as int8 [n, groups, 32] and scales [n, groups]."""
    groups = np.pad(x, ((0, 0), (0, -x.shape[1] % 32))).reshape(len(x), -1, 32)
    scales = np.abs(groups).max(-1) / np.float32(127)
    return np.rint(groups / np.where(scales == 0, 1, scales)[..., None]).astype(np.int8), scales


def int8_words(codes: np.ndarray, *, paired: bool) -> np.ndarray:
    """As the kernels pack them: in order, or, ``paired``, of eight the even four, then the odd four."""
    if not paired:
        return np.ascontiguousarray(codes).reshape(len(codes), -1).view(np.uint32)
    eights = codes.reshape(len(codes), -1, 4, 2).swapaxes(-1, -2)
    return np.ascontiguousarray(eights).reshape(len(codes), -1).view(np.uint32)


def half_words(x: np.ndarray) -> np.ndarray:
    """x [n, K], padded with zeros to whole groups, as pairs of float16: of eight, the i-th and the (i + 4)-th."""
    halves = np.pad(x, ((0, 0), (0, -x.shape[1] % 32))).astype(np.float16)
    pairs = halves.reshape(len(x), -1, 2, 4).swapaxes(-1, -2)
    return np.ascontiguousarray(pairs).reshape(len(x), -1).view(np.uint32)
