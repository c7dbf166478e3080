"""A format says how a quantized matrix is stored: planes of codes, and scales of one level or two.

A weight is ``level * scale [+ minimum]``. The level is its code less ``zero``, or what a table says of the code. One
reader on each side understands every format: ``kernels.layouts.quantized`` in WGSL, ``quantize.unpack`` in numpy and
``native.matmul`` in machine code. GGUF's types are llama.cpp's (ggml-quants.c), repacked by ``gguf_blocks``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

FloatType = Literal["float16", "float32"]

TRITS = 20  # of a uint32: 3**20 < 2**32
STEP = 32  # weights that the readers take at a time, where groups let them
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
    minimum of that type if ``minimum``. Otherwise ``superblock`` weights have such numbers, and each group codes of
    ``sub_bits`` that multiply them, the scale's less ``sub_zero``; the minimum is then subtracted.
    """

    name: str
    planes: tuple[int, ...]
    group: int = 32
    zero: int = 0
    levels: tuple[int, ...] = ()
    scale: Literal["float16", "float32", "e8m0"] = "float16"
    minimum: bool = False
    superblock: int = 0
    sub_bits: int = 0
    sub_zero: int = 0
    trits: bool = False
    codes_from: Literal["floats", "gguf"] = "gguf"
    searched: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for what no reader reads."""
        if self.planes != (3,) and self.planes != (8,) and not set(self.planes) <= {1, 2, 4}:
            raise ValueError(
                f"{self.name}: a plane has 1, 2 or 4 bits of a code; 3 or 8 where it is the only one"
            )
        if not 1 <= len(self.planes) <= 2 or (self.levels and self.planes != (4,)):
            raise ValueError(f"{self.name}: codes are in one plane or two, those of a table in one of 4 bits")
        if not self.trits and any(
            self.group % (32 // width) and 32 // width % self.group for width in self.planes
        ):
            raise ValueError(
                f"{self.name}: {self.group} codes do not begin and end with words, or divide them"
            )

    @property
    def bits(self) -> int:
        """Of a code."""
        return sum(self.planes)

    @property
    def codes_per_word(self) -> int:
        """Of the first plane."""
        return TRITS if self.trits else 32 // self.planes[0]

    @property
    def nibbles(self) -> bool:
        """Whether a byte is two codes, whole and in one plane."""
        return self.planes == (4,)

    @property
    def bytes(self) -> bool:
        """Whether a byte is a code."""
        return self.planes == (8,)

    @property
    def step(self) -> int:
        """Weights that are read at a time: 32 where groups lie in them, or they in groups, else a group."""
        return STEP if STEP % self.group == 0 or self.group % STEP == 0 else self.group

    @property
    def per_record(self) -> int:
        """Weights that one record of scales is for."""
        return self.superblock or self.group

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
        """A record's: ``d`` and ``m``, of a superblock; ``sub_0``, ``sub_1`` (the planes of its groups' codes), and
        ``min_0``, ``min_1``.
        """
        width = {"float16": 16, "float32": 32, "e8m0": 8}[self.scale]
        fields, at = {"d": Field(width, 1, 0)}, width
        if self.minimum:
            fields["m"] = Field(width, 1, at)
            at += width
        count = self.per_record // self.group
        for i, part in reversed(
            list(enumerate(self.sub_planes))
        ):  # the narrow ones first, which keeps words whole
            for name in ("sub", "min") if self.minimum else ("sub",):
                fields[f"{name}_{i}"] = Field(part, count, at)
                at += part * count
        return fields

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
        low = "q_weight" if self.codes_from == "floats" else self.name
        high = (f"{low}_high",) if len(self.planes) > 1 else ()
        return (low, *high, "q_scale" if self.codes_from == "floats" else f"{self.name}_scale")


def mlc_format(planes: tuple[int, ...], scale: FloatType, group: int = 32) -> Format:
    """MLC's group quantization with codes of so many bits, of which each plane holds some.

    Codes of 8 bits lose next to nothing by MLC's scales, and their int8 reader takes no 255, which a search uses.
    """
    bits = sum(planes)
    zero = (1 << (bits - 1)) - 1
    return Format(f"mlc{bits}", planes, group, zero, scale=scale, codes_from="floats", searched=bits < 8)


_IQ4 = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
_FP4 = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)  # E2M1, doubled; scales are halved

# By GGUF's type.
GGUF_FORMATS = {
    "Q4_0": Format("q4_0", (4,), zero=8),
    "Q4_1": Format("q4_1", (4,), minimum=True),
    "Q5_0": Format("q5_0", (4, 1), zero=16),
    "Q5_1": Format("q5_1", (4, 1), minimum=True),
    "Q8_0": Format("q8_0", (8,), zero=128),
    "Q2_K": Format("q2_k", (2,), 16, superblock=256, sub_bits=4, minimum=True),
    "Q3_K": Format("q3_k", (2, 1), 16, zero=4, superblock=256, sub_bits=6, sub_zero=32),
    "Q4_K": Format("q4_k", (4,), superblock=256, sub_bits=6, minimum=True),
    "Q5_K": Format("q5_k", (4, 1), superblock=256, sub_bits=6, minimum=True),
    "Q6_K": Format("q6_k", (4, 2), 16, zero=32, superblock=256, sub_bits=8, sub_zero=128),
    "IQ4_NL": Format("iq4_nl", (4,), levels=_IQ4),
    "IQ4_XS": Format("iq4_xs", (4,), levels=_IQ4, superblock=256, sub_bits=6, sub_zero=32),
    "MXFP4": Format("mxfp4", (4,), levels=_FP4, scale="e8m0"),
    "TQ1_0": Format("tq1_0", (2,), 256, zero=1, trits=True),
    "TQ2_0": Format("tq2_0", (2,), 256, zero=1),
}
