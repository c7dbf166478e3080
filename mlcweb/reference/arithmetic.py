"""Has the arithmetic of the host's operations on arrays: activations, norms, RoPE and rounding."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mlcweb.kernels.layouts.storage import GROUP
from mlcweb.kernels.products.outputs import Activation, ClampedSwiGLU

F32 = npt.NDArray[np.float32]


def gated(kind: Activation | ClampedSwiGLU, gate: F32, up: F32) -> F32:
    """The activation of gates, times their ups."""
    if not isinstance(kind, ClampedSwiGLU):
        return activate(kind, gate) * up
    limit = np.float32(kind.limit)
    gate, up = np.minimum(gate, limit), np.clip(up, -limit, limit)
    y: F32 = gate * activate("sigmoid", np.float32(kind.steepness) * gate) * (up + np.float32(1))
    return y


def activate(kind: Activation, x: F32) -> F32:
    """The activation of each value; tanh does not overflow where exp(-x) would."""
    half = np.float32(0.5)
    if kind == "sigmoid":
        return half + half * np.tanh(half * x)  # type: ignore[no-any-return]
    if kind == "tanh":
        return np.tanh(x)
    if kind == "silu":
        inner = np.tanh(half * x)
    elif kind == "gelu_tanh":
        inner = np.tanh(np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x * x * x))
    else:
        inner = _erf(x * np.float32(math.sqrt(0.5))).astype(np.float32)
    y: F32 = half * x * (1 + inner)
    return y


def round_int8(x: F32) -> F32:
    """x ``[T, K]`` in steps of max|x| / 127 of each 32 values of a row."""
    groups = np.pad(x, ((0, 0), (0, -x.shape[1] % GROUP))).reshape(len(x), -1, GROUP)
    scale = np.abs(groups).max(axis=2, keepdims=True) / np.float32(127)
    codes = np.rint(groups / np.where(scale == 0, np.float32(1), scale))
    rounded: F32 = (codes * scale).reshape(len(x), -1)[:, : x.shape[1]]
    return rounded


def unit(x: F32) -> F32:
    """Vectors along the last axis, of length 1."""
    unit: F32 = x / np.sqrt(np.square(x).sum(axis=-1, keepdims=True) + np.float32(1e-6))
    return unit


_erf = np.frompyfunc(math.erf, 1, 1)


def normalize(x: F32, epsilon: float, centered: bool) -> F32:
    if centered:
        x = x - x.mean(axis=-1, keepdims=True)
    mean_square = np.mean(np.square(x), axis=-1, keepdims=True)
    normed: F32 = x / np.sqrt(mean_square + np.float32(epsilon))
    return normed


def rotate(
    x: F32,
    positions: npt.NDArray[np.int64],
    pair_frequencies: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]],
) -> F32:
    """Turn x ``[T, heads, P]``, dimension i with i + P/2, by its positions ``[T, P / 2]`` or ``[T, 1]``; a new array.

    Angles are float32, as transformers has them.
    """
    frequencies, scale = (array.astype(np.float32) for array in pair_frequencies)
    angles = positions.astype(np.float32) * frequencies
    cos, sin = (np.cos(angles) * scale)[:, None, :], (np.sin(angles) * scale)[:, None, :]
    first, second = np.split(x, 2, axis=-1)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
