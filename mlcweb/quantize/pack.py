"""Packs codes and scales into the arrays that a bundle stores, as their ``Format`` says; ``unpack`` undoes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from mlcweb.quantize.formats import TRITS, Format
from mlcweb.quantize.gguf_blocks import SPLIT, U8, BlockFields

U32 = npt.NDArray[np.uint32]


def pack_gguf(blocks: U8, form: Format) -> tuple[npt.NDArray[Any], ...]:
    """The arrays ``form.tensors`` of rows of GGUF's blocks, uint8 ``[N, bytes of a row]``, of the format's type.

    Codes uint32 ``[N, words]``, for each plane; scales float16 ``[N, groups]``, or records, uint32 ``[N, words]``.
    """
    rows, kind = len(blocks), form.name.upper()
    _, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    parts = SPLIT[kind](np.ascontiguousarray(blocks).reshape(-1, block_bytes))
    codes = parts.codes.reshape(rows, -1)
    return (*pack_codes(codes, form), _scales(parts, form, rows))


def pack_codes(codes: U8, form: Format) -> list[U32]:
    """Each plane of codes ``[N, K]``, K a multiple of 32: uint32 ``[N, words]``."""
    if form.trits:
        return [_pack_trits(codes)]
    planes, shift = [], 0
    for width in form.planes:
        part = codes >> np.uint8(shift) & np.uint8((1 << width) - 1)
        planes.append(_pack_bits(part, width).view("<u4"))
        shift += width
    return planes


def _pack_bits(values: U8, width: int) -> U8:
    """Numbers ``[N, n]`` of ``width`` bits (1, 2, 4 or 8), the first in a byte's lowest bits."""
    if width == 8:
        return np.ascontiguousarray(values)
    each = 8 // width
    total: U8 = values[:, 0::each].copy()
    for i in range(1, each):
        total |= values[:, i::each] << np.uint8(width * i)
    return total


def _pack_trits(codes: U8) -> U32:
    """20 to a word, the first the most significant, as a fraction: word / 2**32 is just over value / 3**20.

    So a digit is found by multiplying: by 3**i, modulo 2**32, then by 3.
    """
    rows, k = codes.shape
    blocks = np.pad(codes.reshape(rows, k // 256, 256), ((0, 0), (0, 0), (0, 13 * TRITS - 256)))
    powers = 3 ** np.arange(TRITS - 1, -1, -1, dtype=np.uint64)
    value = blocks.reshape(rows, -1, TRITS).astype(np.uint64) @ powers
    whole = np.uint64(3**TRITS)
    # Up to 3**20 * 2**32, which is under 2**64.
    words: U32 = (((value << np.uint64(32)) + whole - np.uint64(1)) // whole).astype(np.uint32)
    return words


def _scales(parts: BlockFields, form: Format, rows: int) -> npt.NDArray[Any]:
    if form.lone:
        return np.ascontiguousarray(parts.d.reshape(rows, -1))
    numbers = {"d": parts.d, "m": parts.m, "sub": parts.sub, "min": parts.sub_min}
    columns = []
    for name, field in form.fields.items():
        values = numbers[name.split("_")[0]]
        assert values is not None
        if field.numbers == 1:
            columns.append(np.ascontiguousarray(values)[:, None].view(np.uint8))
            continue
        shift = 4 if name.endswith("_1") else 0
        part = values >> np.uint8(shift) & np.uint8((1 << field.width) - 1)
        columns.append(_pack_bits(part, field.width))
    records = np.concatenate(columns, axis=1).reshape(rows, -1)
    padded = np.pad(records, ((0, 0), (0, -records.shape[1] % 4)))
    return padded.view("<u4")
