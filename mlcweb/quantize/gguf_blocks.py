"""Takes GGUF's blocks apart: codes in the order of the row, scales and minimums, which ``pack`` joins again.

Where the bits lie is ggml's (ggml-common.h and ggml-quants.c); nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
_SIGN = np.uint8(0x80)  # makes a signed byte an unsigned one, 128 larger


@dataclass(frozen=True)
class BlockFields:
    """Of ``[B]`` blocks: ``codes`` ``[B, block]``; ``d`` and ``m`` ``[B]``, float16 or uint8 (E8M0); ``sub`` and
    ``sub_min`` ``[B, groups]``. What a type does not have is None.
    """

    codes: npt.NDArray[Any]
    d: npt.NDArray[Any]
    m: npt.NDArray[Any] | None = None
    sub: npt.NDArray[Any] | None = None
    sub_min: npt.NDArray[Any] | None = None


def _half(blocks: U8, at: int) -> npt.NDArray[np.float16]:
    """The float16 at a byte of each block."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view(np.float16)[:, 0]


def _nibbles(packed: U8, run: int) -> U8:
    """``[B, n]`` bytes as ``[B, 2 n]`` codes: of each ``run`` bytes the low halves, then the high ones."""
    runs = packed.reshape(len(packed), -1, 1, run)
    return np.concatenate([runs & 0xF, runs >> 4], axis=2).reshape(len(packed), -1)


def _shifted(packed: U8, run: int, width: int) -> U8:
    """As ``_nibbles``, for codes of ``width`` bits."""
    shifts = np.arange(0, 8, width, dtype=np.uint8)[:, None]
    runs = packed.reshape(len(packed), -1, 1, run) >> shifts
    codes: U8 = runs & np.uint8((1 << width) - 1)
    return codes.reshape(len(packed), -1)


def _bits32(packed: U8) -> U8:
    """Four bytes as 32 bits, the lowest first."""
    return np.unpackbits(np.ascontiguousarray(packed), axis=1, bitorder="little")


def q4_0(b: U8) -> BlockFields:
    return BlockFields(_nibbles(b[:, 2:], 16), _half(b, 0))


def q4_1(b: U8) -> BlockFields:
    return BlockFields(_nibbles(b[:, 4:], 16), _half(b, 0), _half(b, 2))


def q5_0(b: U8) -> BlockFields:
    return BlockFields(_nibbles(b[:, 6:], 16) | _bits32(b[:, 2:6]) << 4, _half(b, 0))


def q5_1(b: U8) -> BlockFields:
    return BlockFields(_nibbles(b[:, 8:], 16) | _bits32(b[:, 4:8]) << 4, _half(b, 0), _half(b, 2))


def q8_0(b: U8) -> BlockFields:
    """Codes get an offset of 128."""
    return BlockFields(b[:, 2:] ^ _SIGN, _half(b, 0))


def q2_k(b: U8) -> BlockFields:
    scales = b[:, :16]
    return BlockFields(_shifted(b[:, 16:80], 32, 2), _half(b, 80), _half(b, 82), scales & 0xF, scales >> 4)


def q3_k(b: U8) -> BlockFields:
    codes = _shifted(b[:, 32:96], 32, 2) | _shifted(b[:, :32], 32, 1) << 2
    low = b[:, 96:104]
    sub = np.concatenate([low & 0xF, low >> 4], axis=1) | _shifted(b[:, 104:108], 4, 2) << 4
    return BlockFields(codes, _half(b, 108), None, sub)


def _sixes(b: U8) -> tuple[U8, U8]:
    """Scales and minimums of 6 bits, from 12 bytes."""
    first, second, third = b[:, 0:4], b[:, 4:8], b[:, 8:12]
    sub = np.concatenate([first & 0x3F, third & 0xF | first >> 2 & 0x30], axis=1)
    return sub, np.concatenate([second & 0x3F, third >> 4 | second >> 2 & 0x30], axis=1)


def q4_k(b: U8) -> BlockFields:
    return BlockFields(_nibbles(b[:, 16:], 32), _half(b, 0), _half(b, 2), *_sixes(b[:, 4:16]))


def q5_k(b: U8) -> BlockFields:
    codes = _nibbles(b[:, 48:], 32) | _shifted(b[:, 16:48], 32, 1) << 4
    return BlockFields(codes, _half(b, 0), _half(b, 2), *_sixes(b[:, 4:16]))


def q6_k(b: U8) -> BlockFields:
    """Scales are signed bytes, which get an offset of 128."""
    codes = _nibbles(b[:, :128], 64) | _shifted(b[:, 128:192], 32, 2) << 4
    return BlockFields(codes, _half(b, 208), None, b[:, 192:208] ^ _SIGN)


def iq4_xs(b: U8) -> BlockFields:
    low = b[:, 4:8]
    sub = np.stack([low & 0xF, low >> 4], axis=2).reshape(len(b), 8)
    high = np.stack([b[:, 2 + i // 4] >> (2 * (i % 4)) & 3 for i in range(8)], axis=1)
    return BlockFields(_nibbles(b[:, 8:], 16), _half(b, 0), None, sub | high << 4)


def mxfp4(b: U8) -> BlockFields:
    return BlockFields(_nibbles(b[:, 1:], 16), b[:, 0])


def tq1_0(b: U8) -> BlockFields:
    """Five digits of base 3 to a byte, as a fraction of 256; the last four bytes have four."""

    def digits(packed: U8, run: int, count: int) -> U8:
        powers = (3 ** np.arange(count)).astype(np.uint8)[:, None]
        runs = packed.reshape(len(packed), -1, 1, run) * powers
        return (runs.astype(np.uint16) * 3 >> 8).astype(np.uint8).reshape(len(packed), -1)

    parts = [digits(b[:, :32], 32, 5), digits(b[:, 32:48], 16, 5), digits(b[:, 48:52], 4, 4)]
    return BlockFields(np.concatenate(parts, axis=1), _half(b, 52))


def tq2_0(b: U8) -> BlockFields:
    return BlockFields(_shifted(b[:, :64], 32, 2), _half(b, 64))


SPLIT: dict[str, Callable[[U8], BlockFields]] = {
    "Q4_0": q4_0,
    "Q4_1": q4_1,
    "Q5_0": q5_0,
    "Q5_1": q5_1,
    "Q8_0": q8_0,
    "Q2_K": q2_k,
    "Q3_K": q3_k,
    "Q4_K": q4_k,
    "Q5_K": q5_k,
    "Q6_K": q6_k,
    "IQ4_NL": q4_0,
    "IQ4_XS": iq4_xs,
    "MXFP4": mxfp4,
    "TQ1_0": tq1_0,
    "TQ2_0": tq2_0,
}
