"""MLC's group quantization (q4f16_1, q4f32_1), bit for bit, in numpy.

Rule: scale = max|w| / 7 per group, in the activation type; code = clamp(round(w / scale + 7), 0, 14),
rounding to even, every operation in the type that the weight and the scale promote to. An all-zero group
has scale 0 and codes 0; codes past the end of a row are 0. So a float32 weight under q4f16_1 is divided in
float32. MLC's own conversion never does that: it casts a model to the activation type first, and
``quantize_params`` does the same.

float16 arithmetic is done in float32 and rounded after each operation, which gives the same bits (a single
operation rounded twice is exact when 24 >= 2 * 11 + 2) at several times the speed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mlcweb.errors import CheckpointError
from mlcweb.quantize.casting import cast, round_normal_to_float16, to_float32
from mlcweb.quantize.schemes import Scheme

# Elements worked on at a time: a few float32 temporaries of this size stay in a core's second-level cache.
_BLOCK_ELEMENTS = 1 << 17


def quantize_group(
    weight: npt.NDArray[Any], scheme: Scheme
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[Any]]:
    """Quantize ``weight`` ``[N, K]`` (any float dtype) to codes ``[N, words]`` uint32 and scales ``[N,
    groups]``.

    ``words`` and ``groups`` are ``scheme.words(K)`` and ``scheme.groups(K)``; scales are in the activation
    dtype. Raises CheckpointError if a weight is not finite in the activation dtype.
    """
    n, k = weight.shape
    q_weight = np.empty((n, scheme.words(k)), np.uint32)
    q_scale = np.empty((n, scheme.groups(k)), scheme.activation)
    rows = max(1, _BLOCK_ELEMENTS // max(k, 1))
    for start in range(0, n, rows):
        stop = min(start + rows, n)
        q_weight[start:stop], q_scale[start:stop] = _quantize_rows(weight[start:stop], scheme)
    return q_weight, q_scale


def _quantize_rows(
    weight: npt.NDArray[Any], scheme: Scheme
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.float32]]:
    n, k = weight.shape
    size, groups, top = scheme.group_size, scheme.groups(k), np.float32(scheme.max_code)
    half = scheme.activation == "float16" and weight.dtype == np.float16
    values = to_float32(weight)
    if groups * size != k:
        values = np.pad(values, ((0, 0), (0, groups * size - k)))
    # reduceat over the flat array: numpy's max along a short last axis is three times slower.
    starts = np.arange(0, n * groups * size, size)
    largest = np.maximum.reduceat(np.abs(values).reshape(-1), starts)
    scale = to_float32(cast(to_float32(cast(largest, scheme.activation)) / top, scheme.activation))
    if not np.all(np.isfinite(scale)):
        raise CheckpointError(
            f"has weights that are infinite, NaN or too large for {scheme.activation}",
            hint="q4f32_1 takes any finite weight." if scheme.activation == "float16" else "",
        )
    grouped = values.reshape(n * groups, size)
    with np.errstate(divide="ignore", invalid="ignore"):
        codes = grouped / scale[:, None]
    vanished = scale == 0
    if vanished.any():
        # A group of zeros, or one whose scale is under float16's smallest: w / 0 is NaN or infinite, and
        # MLC's clamp makes codes 0, 0 and 14 of NaN and the infinities. They decode to 0 whatever they are.
        codes[vanished] = np.where(grouped[vanished] > 0, top, -top)
    if half:
        round_normal_to_float16(codes)
    codes += top
    if half:
        round_normal_to_float16(codes)
    np.rint(codes, out=codes)
    np.clip(codes, 0, 2 * top, out=codes)
    nibbles = codes.astype(np.uint8).reshape(n, groups * size)
    nibbles[:, k:] = 0
    # Two neighbouring nibbles meet in the low byte of their 16-bit word; bytes then follow in memory as in a
    # little-endian uint32, lowest nibble first.
    pairs = nibbles.view("<u2")
    packed = (pairs | (pairs >> 4)).astype(np.uint8)
    return packed.view("<u4"), scale.reshape(n, groups)


def dequantize_group(
    q_weight: npt.NDArray[np.uint32], q_scale: npt.NDArray[Any], k: int
) -> npt.NDArray[np.float32]:
    """float32 ``[N, k]`` from 4-bit codes ``[N, words]`` and scales ``[N, groups]``: (code - 7) * scale."""
    n, groups = q_scale.shape
    packed = np.ascontiguousarray(q_weight, "<u4").view(np.uint8)
    nibbles = np.empty((n, packed.shape[1], 2), np.uint8)
    nibbles[..., 0] = packed & 15
    nibbles[..., 1] = packed >> 4
    values = nibbles.reshape(n, groups, -1).astype(np.float32) - 7
    values *= q_scale.astype(np.float32)[..., None]
    return values.reshape(n, -1)[:, :k]
