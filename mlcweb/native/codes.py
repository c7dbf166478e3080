"""Codes of a group in their words, as MLC lays them out: the first in the lowest bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.kernels.language.builder import Expr, KernelBuilder, bits
from mlcweb.native.vector import constants, keep, repeat


@dataclass(frozen=True)
class Kind:
    """What of a scheme makes another function; a group is one vector of ``lanes``."""

    bits: int
    lanes: int
    half: bool

    @property
    def top(self) -> int:
        """The largest magnitude that a code stands for."""
        return (1 << (self.bits - 1)) - 1

    @property
    def codes_per_word(self) -> int:
        return 32 // self.bits

    @property
    def words(self) -> int:
        """A group's words."""
        return self.lanes // self.codes_per_word


def pack(k: KernelBuilder, codes: Expr, kind: Kind) -> Any:
    """A group's codes in its words, the first in the lowest bits."""
    if kind.bits == 8:
        return bits(f"uint32x{kind.words}", T.Cast(f"uint8x{kind.lanes}", codes))
    if kind.bits == 4:
        return _pack_nibbles(k, codes)
    each = kind.codes_per_word
    shifts = constants("uint32", [lane % each * kind.bits for lane in range(kind.lanes)])
    shifted = keep(k, T.shift_left(codes, shifts), "uint32", kind.lanes)
    total: Any = None
    for i in range(each):
        part = T.Shuffle([shifted], [word * each + i for word in range(kind.words)])
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
