"""How a quantized matrix is stored, as data: planes of codes, and scales of one level or two.

A weight is ``level * scale [+ minimum]``. The level is its code less ``zero``, or what a table says of the code. One
reader on each side understands every format: ``kernels.layouts.storage`` in WGSL, ``quantize.unpack`` in numpy and
``native.dequantize`` in machine code. GGUF's types are llama.cpp's (ggml-quants.c), repacked by ``gguf_blocks``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

TRITS = 20  # of a uint32: 3**20 < 2**32
_SUPERBLOCK_TRIT_WORDS = 13  # 256 trits, the last word with 16


class Field(NamedTuple):
    """``numbers`` of ``width`` bits, one after the other from bit ``base`` of a record; none straddles a word."""

    width: int
    numbers: int
    base: int


@dataclass(frozen=True)
class Format:
    """A matrix ``[N, K]``, row by row; ``tensors`` says which arrays hold it.

    Codes: a code's lowest ``planes[0]`` bits are in the first plane, the next in the second. A plane has as many to a
    uint32 as fit whole, the first in the lowest bits; ``trits`` has 20 digits of base 3, and is ``trit_words``'.
    Scales: each ``group`` weights of a row share one. With ``sub_bits`` 0 it is a number of the type ``scale``, with a
    minimum of that type if ``minimum``. Otherwise ``block`` weights have such numbers, and each group codes of
    ``sub_bits`` that multiply them, the scale's less ``sub_zero``; the minimum is then subtracted.
    """

    name: str
    planes: tuple[int, ...]
    group: int = 32
    zero: int = 0
    levels: tuple[int, ...] = ()
    scale: Literal["float16", "float32", "e8m0"] = "float16"
    minimum: bool = False
    block: int = 0
    sub_bits: int = 0
    sub_zero: int = 0
    trits: bool = False
    mlc: bool = False  # a row is padded to whole groups, and the names are MLC's

    @property
    def bits(self) -> int:
        """Of a code."""
        return sum(self.planes)

    @property
    def codes_per_word(self) -> int:
        """Of the first plane."""
        return TRITS if self.trits else 32 // self.planes[0]

    @property
    def per_record(self) -> int:
        """Weights that one record of scales is for."""
        return self.block or self.group

    @property
    def symmetric(self) -> bool:
        """Whether a weight is its code, less ``zero``, times a scale."""
        return not self.minimum and not self.levels

    def groups(self, k: int) -> int:
        """Groups of a row of ``k`` weights; MLC's last may be partly padding."""
        return -(-k // self.group)

    def words(self, k: int, plane: int = 0) -> int:
        """uint32 of a row of ``k`` weights in a plane; MLC's padding included."""
        if self.trits:
            return k // 256 * _SUPERBLOCK_TRIT_WORDS
        padded = self.groups(k) * self.group
        return padded // (32 // self.planes[plane])

    @property
    def fields(self) -> dict[str, Field]:
        """A record's: ``d`` and ``m``, of a block; ``sub_0``, ``sub_1`` (the planes of its groups' codes), and
        ``min_0``, ``min_1``.
        """
        width = {"float16": 16, "float32": 32, "e8m0": 8}[self.scale]
        found, at = {"d": Field(width, 1, 0)}, width
        if self.minimum:
            found["m"] = Field(width, 1, at)
            at += width
        count = self.per_record // self.group
        for i, part in reversed(
            list(enumerate(self.sub_planes))
        ):  # the narrow ones first, which keeps words whole
            for name in ("sub", "min") if self.minimum else ("sub",):
                found[f"{name}_{i}"] = Field(part, count, at)
                at += part * count
        return found

    @property
    def sub_planes(self) -> tuple[int, ...]:
        """Widths of the parts of a group's code."""
        return {0: (), 4: (4,), 6: (4, 2), 8: (8,)}[self.sub_bits]

    @property
    def record_bits(self) -> int:
        """Of a record, one after the other in a row."""
        return sum(field.width * field.numbers for field in self.fields.values())

    @property
    def lone(self) -> bool:
        """Whether a group's scale is all of a record, and so an element of an array of floats."""
        return len(self.fields) == 1 and self.scale != "e8m0"

    def scale_words(self, k: int) -> int:
        """uint32 of a row's records, for formats that are not ``lone``."""
        return -(-(k // self.per_record) * self.record_bits // 32)

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of the stored arrays, after the parameter's: codes, a second plane of codes, scales."""
        if self.mlc:
            return ("q_weight", "q_scale")
        high = (f"{self.name}_high",) if len(self.planes) > 1 else ()
        return (self.name, *high, f"{self.name}_scale")


def mlc_format(bits: int, group: int, activation: Literal["float16", "float32"]) -> Format:
    """MLC's group quantization, and its rule with 8 bits."""
    return Format(f"mlc{bits}", (bits,), group, (1 << (bits - 1)) - 1, scale=activation, mlc=True)


_IQ4 = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
_FP4 = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)  # E2M1, doubled; scales are halved

# By GGUF's type.
GGUF_FORMATS = {
    "Q4_0": Format("q4_0", (4,), zero=8),
    "Q4_1": Format("q4_1", (4,), minimum=True),
    "Q5_0": Format("q5_0", (4, 1), zero=16),
    "Q5_1": Format("q5_1", (4, 1), minimum=True),
    "Q8_0": Format("q8_0", (8,), zero=128),
    "Q2_K": Format("q2_k", (2,), 16, block=256, sub_bits=4, minimum=True),
    "Q3_K": Format("q3_k", (2, 1), 16, zero=4, block=256, sub_bits=6, sub_zero=32),
    "Q4_K": Format("q4_k", (4,), block=256, sub_bits=6, minimum=True),
    "Q5_K": Format("q5_k", (4, 1), block=256, sub_bits=6, minimum=True),
    "Q6_K": Format("q6_k", (4, 2), 16, zero=32, block=256, sub_bits=8, sub_zero=128),
    "IQ4_NL": Format("iq4_nl", (4,), levels=_IQ4),
    "IQ4_XS": Format("iq4_xs", (4,), levels=_IQ4, block=256, sub_bits=6, sub_zero=32),
    "MXFP4": Format("mxfp4", (4,), levels=_FP4, scale="e8m0"),
    "TQ1_0": Format("tq1_0", (2,), 256, zero=1, trits=True),
    "TQ2_0": Format("tq2_0", (2,), 256, zero=1),
}
