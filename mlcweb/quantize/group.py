"""MLC's group quantization, bit for bit.

Rule: scale = max|w| / 7 per group, in the activation type; code = clamp(round(w / scale + 7), 0, 14),
rounding to even, every operation in the type that the weight and the scale promote to. That is for 4 bits;
3 and 8 bits have 3 and 127, the largest magnitude that a code stands for, in place of 7. An all-zero group
has scale 0 and codes 0; codes past the end of a row are 0. So a float32 weight under q4f16_1 is divided in
float32. MLC's own conversion never does that: it casts a model to the activation type first, and
``quantize_params`` does the same.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from mlcweb.errors import CheckpointError
from mlcweb.native.quantize import quantize
from mlcweb.quantize.schemes import Scheme

_NATIVE = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))


def quantize_group(
    weight: npt.NDArray[Any], scheme: Scheme, *, cast: bool = False
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[Any]]:
    """Quantize ``weight`` ``[N, K]`` (any float dtype) to codes ``[N, words]`` uint32 and scales ``[N,
    groups]``.

    ``words`` and ``groups`` are ``scheme.words(K)`` and ``scheme.groups(K)``; scales are in the activation
    dtype, and with ``cast`` the weight counts as cast to it first. Raises CheckpointError if a weight is not
    finite in the activation dtype.
    """
    k = weight.shape[1]
    if scheme.bits is None:
        raise ValueError(f"{scheme.name} does not quantize")
    values = weight if weight.dtype in _NATIVE else weight.astype(np.float32)
    padding = scheme.groups(k) * scheme.group_size - k
    if padding:
        values = np.pad(values, ((0, 0), (0, padding)))
    q_weight, q_scale = quantize(values, scheme.bits, scheme.group_size, scheme.activation, cast=cast)
    if not np.all(np.isfinite(q_scale)):
        raise CheckpointError(
            f"has weights that are infinite, NaN or too large for {scheme.activation}",
            hint=f"q{scheme.bits}f32_1 takes any finite weight." if scheme.activation == "float16" else "",
        )
    if padding:
        word, codes = divmod(k, scheme.codes_per_word)
        q_weight[:, word:] &= np.uint32((1 << scheme.bits * codes) - 1)
        q_weight[:, word + 1 :] = 0
    return q_weight, q_scale


def dequantize_group(
    q_weight: npt.NDArray[np.uint32], q_scale: npt.NDArray[Any], k: int, bits: int = 4
) -> npt.NDArray[np.float32]:
    """float32 ``[N, k]`` from codes ``[N, words]`` and scales ``[N, groups]``: (code - max_code) * scale."""
    n, groups = q_scale.shape
    shifts = np.arange(32 // bits, dtype=np.uint32) * np.uint32(bits)
    codes = q_weight[..., None] >> shifts & np.uint32((1 << bits) - 1)
    values: npt.NDArray[np.float32] = codes.reshape(n, groups, -1).astype(np.float32) - (
        (1 << (bits - 1)) - 1
    )
    values *= q_scale.astype(np.float32)[..., None]
    return values.reshape(n, -1)[:, :k]
