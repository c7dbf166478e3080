"""Unpacks stored codes and scales to float32, for any ``Format``, in numpy; the kernels' readers must agree with it.

GGUF's types come out as the gguf library dequantizes them, bit for bit: a product of a code and a scale is exact in
float32, so that adding the minimum is all that rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlcweb.quantize.formats import TRITS, Format

F32 = npt.NDArray[np.float32]
U32 = npt.NDArray[np.uint32]


def unpack(arrays: Sequence[npt.NDArray[Any]], form: Format) -> F32:
    """float32 ``[N, K]`` from the arrays ``form.tensors``, each with N rows; MLC's padding is among K."""
    *planes, scales = arrays
    codes = _codes(planes, form)
    scale, minimum = unpack_scales(scales, form, codes.shape[1])
    if form.levels:
        levels = np.array(form.levels, np.float32)[codes]
    else:
        levels = codes.astype(np.float32) - np.float32(form.zero)
    values: F32 = levels.reshape(len(codes), -1, form.group)
    values *= scale[:, :, None]
    if minimum is not None:
        values += minimum[:, :, None]
    return values.reshape(codes.shape)


def _codes(planes: Sequence[U32], form: Format) -> npt.NDArray[np.uint8]:
    """``[N, K]``."""
    if form.trits:
        return _trits(planes[0])
    total: Any = None
    shift = 0
    for words, width in zip(planes, form.planes, strict=True):
        places = np.arange(32 // width, dtype=np.uint32) * np.uint32(width)
        numbers = words[:, :, None] >> places & np.uint32((1 << width) - 1)
        part = numbers.astype(np.uint8).reshape(len(words), -1) << np.uint8(shift)
        total = part if total is None else total | part
        shift += width
    codes: npt.NDArray[np.uint8] = total
    return codes


def _trits(words: U32) -> npt.NDArray[np.uint8]:
    powers = (3 ** np.arange(TRITS, dtype=np.uint64)).astype(np.uint32)
    fraction = (words[:, :, None] * powers).astype(np.uint64)  # modulo 2**32
    digits = (fraction * np.uint64(3) >> np.uint64(32)).astype(np.uint8)
    return np.ascontiguousarray(digits.reshape(len(words), -1, 13 * TRITS)[:, :, :256]).reshape(
        len(words), -1
    )


def unpack_scales(stored: npt.NDArray[Any], form: Format, k: int) -> tuple[F32, F32 | None]:
    """float32 ``[N, groups]``: each group's scale, and what is added to its weights, of rows of ``k`` weights."""
    if form.lone:
        return stored.astype(np.float32), None
    rows, groups = len(stored), k // form.group
    records = k // form.per_record

    def field(name: str) -> npt.NDArray[np.uint32]:
        """``[N, records, count]``."""
        width, count, base = form.fields[name]
        bit = (np.arange(records) * form.record_bits)[:, None] + base + np.arange(count) * width
        mask = np.uint32(0xFFFFFFFF >> (32 - width))
        numbers: npt.NDArray[np.uint32] = stored[:, bit >> 5] >> (bit & 31).astype(np.uint32) & mask
        return numbers

    def number(name: str) -> F32:
        raw = field(name)
        if form.scale == "e8m0":
            return e8m0_half(raw)
        if form.scale == "float32":
            return np.ascontiguousarray(raw).view(np.float32)
        return raw.astype(np.uint16).view(np.float16).astype(np.float32)

    def sub(name: str) -> F32:
        parts = [field(f"{name}_{i}") << np.uint32(4 * i) for i in range(len(form.sub_planes))]
        total: F32 = sum(parts[1:], parts[0]).astype(np.float32)
        return total

    scale, minimum = number("d"), number("m") if form.minimum else None
    if form.sub_bits:
        scale = scale * (sub("sub") - np.float32(form.sub_zero))
        minimum = None if minimum is None else -(minimum * sub("min"))
    shape = (rows, groups)
    return scale.reshape(shape), None if minimum is None else minimum.reshape(shape)


def e8m0_half(exponents: npt.NDArray[np.uint32]) -> F32:
    """Half of 2**(e - 127), as ggml has it (``ggml_e8m0_to_fp32_half``)."""
    small = np.uint32(0x00200000) << np.minimum(exponents, 1)
    bits: U32 = np.where(exponents < 2, small, (exponents - np.uint32(1)) << np.uint32(23)).astype(np.uint32)
    return bits.view(np.float32)
