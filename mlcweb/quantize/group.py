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
from mlcweb.quantize.formats import Format, mlc_format
from mlcweb.quantize.unpack import unpack

_NATIVE = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))


def quantize_group(
    weight: npt.NDArray[Any], form: Format, *, cast: bool = False
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[Any]]:
    """Quantize ``weight`` ``[N, K]`` (any float dtype) to codes ``[N, words]`` uint32 and scales ``[N,
    groups]``.

    ``words`` and ``groups`` are ``form.words(K)`` and ``form.groups(K)``; scales are in ``form.scale``, the
    activation dtype, and with ``cast`` the weight counts as cast to it first. Raises CheckpointError if a weight is
    not finite in the activation dtype.
    """
    k = weight.shape[1]
    values = pad(native(weight), form)
    q_weight, q_scale = quantize(values, form.bits, form.group, form.scale, cast=cast)
    if not np.all(np.isfinite(q_scale)):
        raise CheckpointError(
            f"has weights that are infinite, NaN or too large for {form.scale}",
            hint=f"q{form.bits}f32_1 takes any finite weight." if form.scale == "float16" else "",
        )
    clear_padding(q_weight, k, form)
    return q_weight, q_scale


def native(weight: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A weight in a type that the native code reads: others become float32."""
    return weight if weight.dtype in _NATIVE else weight.astype(np.float32)


def pad(weight: npt.NDArray[Any], form: Format) -> npt.NDArray[Any]:
    """Rows ``[N, K]`` with zeros up to whole groups."""
    padding = -weight.shape[1] % form.group
    return np.pad(weight, ((0, 0), (0, padding))) if padding else weight


def clear_padding(q_weight: npt.NDArray[np.uint32], k: int, form: Format) -> None:
    """Codes past the end of rows of ``k`` weights become 0, in place."""
    if k % form.group:
        word, codes = divmod(k, form.codes_per_word)
        q_weight[:, word:] &= np.uint32((1 << form.bits * codes) - 1)
        q_weight[:, word + 1 :] = 0


def dequantize_group(
    q_weight: npt.NDArray[np.uint32], q_scale: npt.NDArray[Any], k: int, bits: int = 4
) -> npt.NDArray[np.float32]:
    """float32 ``[N, k]`` from codes ``[N, words]`` and scales ``[N, groups]``: (code - max_code) * scale."""
    group = q_weight.shape[1] * (32 // bits) // q_scale.shape[1]
    return unpack((q_weight, q_scale), mlc_format(bits, group, "float32"))[:, :k]
