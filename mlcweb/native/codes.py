"""Packs a group's codes into words as MLC lays them out: the first in the lowest bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.kernels.language.builder import Expr, KernelBuilder, bits, u32
from mlcweb.native.function import argument
from mlcweb.native.vector import LANES, constants, keep, repeat
from mlcweb.quantize.formats import Format


@dataclass(frozen=True)
class Kind:
    """What of a format makes another function; a group is one vector of ``lanes``."""

    planes: tuple[int, ...]
    lanes: int
    half: bool

    @classmethod
    def of(cls, form: Format) -> Kind:
        """For codes that are quantized here."""
        return cls(form.planes, form.group, form.scale == "float16")

    @property
    def bits(self) -> int:
        """Of a code."""
        return sum(self.planes)

    @property
    def top(self) -> int:
        """The largest magnitude that a code stands for."""
        return (1 << (self.bits - 1)) - 1

    def words(self, plane: int) -> int:
        """A group's words in a plane."""
        return self.lanes // (32 // self.planes[plane])

    def empty(self, rows: int, groups: int) -> tuple[list[npt.NDArray[np.uint32]], npt.NDArray[Any]]:
        """Arrays for codes, of each plane, and for scales as they are written."""
        planes = [np.empty((rows, groups * self.words(i)), np.uint32) for i in range(len(self.planes))]
        return planes, np.empty((rows, groups), np.uint16 if self.half else np.float32)

    def arguments(self, k: KernelBuilder, rows: Any, groups: int) -> tuple[list[Any], Any]:
        """The same as a function's next arguments."""
        planes = [
            argument(k, f"codes_{i}", (rows, groups * self.words(i)), "uint32")
            for i in range(len(self.planes))
        ]
        return planes, argument(k, "scales", (rows, groups), "uint16" if self.half else "float32")


def store_codes(k: KernelBuilder, planes: list[Any], row: Any, group: Any, codes: Expr, kind: Kind) -> None:
    """Store a group's codes, uint32 in ``kind.lanes`` lanes, in their planes."""
    shift = 0
    for plane, (buffer, width) in enumerate(zip(planes, kind.planes, strict=True)):
        part = codes if len(planes) == 1 else _bits_of(k, codes, shift, width, kind.lanes)
        words = kind.words(plane)
        at = T.Ramp(group * words, 1, words) if words > 1 else group
        k.store(buffer, [row, at], _pack(k, part, width, kind.lanes))
        shift += width


def _bits_of(k: KernelBuilder, codes: Expr, shift: int, width: int, lanes: int) -> Any:
    moved = T.shift_right(codes, repeat(u32(shift), lanes))
    return keep(k, T.bitwise_and(moved, repeat(u32((1 << width) - 1), lanes)), "uint32", lanes)


def _pack(k: KernelBuilder, codes: Expr, width: int, lanes: int) -> Any:
    """Numbers of ``width`` bits in their words, the first in the lowest bits."""
    each = 32 // width
    words = lanes // each
    if width == 8:
        return bits(f"uint32x{words}", T.Cast(f"uint8x{lanes}", codes))
    if width == 4 and lanes == LANES:
        return _pack_nibbles(k, codes)
    shifts = constants("uint32", [lane % each * width for lane in range(lanes)])
    shifted = keep(k, T.shift_left(codes, shifts), "uint32", lanes)
    total: Any = None
    for i in range(each):
        part = T.Shuffle([shifted], [word * each + i for word in range(words)])
        total = part if total is None else T.bitwise_or(total, part)
    return total


def _pack_nibbles(k: KernelBuilder, codes: Expr) -> Any:
    """32 codes in four uint32, lowest nibble first."""
    octets = keep(k, bits("uint64x4", T.Cast("uint8x32", codes)), "uint64", 4)
    for shift, mask in ((4, 0x00FF00FF00FF00FF), (8, 0x0000FFFF0000FFFF)):
        moved = T.shift_right(octets, repeat(tirx.const(shift, "uint64"), 4))
        merged = T.bitwise_and(T.bitwise_or(octets, moved), repeat(tirx.const(mask, "uint64"), 4))
        octets = keep(k, merged, "uint64", 4)
    moved = T.shift_right(octets, repeat(tirx.const(16, "uint64"), 4))
    return T.Cast("uint32x4", T.bitwise_or(octets, moved))
