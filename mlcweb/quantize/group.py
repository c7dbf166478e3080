"""Quantizes groups by MLC's rule, bit for bit.

Rule: scale = max|w| / 7 per group, in the activation type; code = clamp(round(w / scale + 7), 0, 14),
rounding to even, every operation in the type that the weight and the scale promote to. That is for 4 bits;
others have ``zero``, the largest magnitude that a code stands for, in place of 7: 3 of 3 bits, 127 of 8. An
all-zero group has scale 0 and codes 0; codes past the end of a row are 0. So a float32 weight under q4f16_1 is
divided in float32. MLC's own conversion never does that: it casts a model to the activation type first, and
``quantize_params`` does the same.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from mlcweb.errors import CheckpointError
from mlcweb.native.quantize import quantize
from mlcweb.quantize.formats import Format

_NATIVE = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))


def quantize_group(
    weight: npt.NDArray[Any], form: Format, *, cast: bool = False
) -> tuple[npt.NDArray[Any], ...]:
    """Quantize ``weight`` ``[N, K]`` (any float dtype) to the arrays ``form.tensors``: codes, uint32 ``[N, words]`` of
    each plane, and scales ``[N, groups]``.

    ``words`` and ``groups`` are ``form.words(K, plane)`` and ``form.groups(K)``; scales are in ``form.scale``, the
    activation dtype, and with ``cast`` the weight counts as cast to it first. Raises CheckpointError if a weight is
    not finite in the activation dtype.
    """
    return checked(quantize(pad(native(weight), form), form, cast=cast), weight.shape[1], form)


def native(weight: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A weight in a type that the native code reads: others become float32."""
    return weight if weight.dtype in _NATIVE else weight.astype(np.float32)


def pad(weight: npt.NDArray[Any], form: Format) -> npt.NDArray[Any]:
    """Rows ``[N, K]`` with zeros up to whole groups."""
    padding = -weight.shape[1] % form.group
    return np.pad(weight, ((0, 0), (0, padding))) if padding else weight


def checked(arrays: tuple[npt.NDArray[Any], ...], k: int, form: Format) -> tuple[npt.NDArray[Any], ...]:
    """Rows of ``k`` weights as they are stored: codes past the end become 0. Raises CheckpointError for a scale that
    is not finite.
    """
    *planes, scales = arrays
    if not np.all(np.isfinite(scales)):
        narrow = form.scale == "float16"
        raise CheckpointError(
            f"has weights that are infinite, NaN or too large for {form.scale}",
            hint="The same --quant with f32 in place of f16 takes any finite weight." if narrow else "",
        )
    if k % form.group:
        for plane, width in zip(planes, form.planes, strict=True):
            word, codes = divmod(k, 32 // width)
            plane[:, word] &= np.uint32((1 << width * codes) - 1)
            plane[:, word + 1 :] = 0
    return arrays
