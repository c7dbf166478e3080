"""Reads a block's codes as bytes for int8 products: of 32 weights the even ones in one vector, the odd in another.

That is what masking nibbles gives, and every format is brought to it, so that x is rounded in one order for all.
"""

from __future__ import annotations

from typing import Any

from tvm import tirx

from mlcweb.kernels.cpu.builder import CpuKernel, llvm, repeat
from mlcweb.kernels.language.builder import bits, select
from mlcweb.kernels.language.expr import Expr, Index, T
from mlcweb.kernels.layouts.quantized import GroupQuantizedReader
from mlcweb.quantize.formats import STEP, Format

Pair = tuple[Expr, Expr]  # of the even weights of a block, and of the odd ones


def reads(form: Format) -> bool:
    """Whether ``BlockCodes`` reads a format: all but those of 3 bits and of trits, which no byte ends with."""
    return not form.trits and form.planes != (3,)


def is_seven_bits(form: Format) -> bool:
    """Whether a format's codes are below 128, and so an operand of Relaxed SIMD's dot product."""
    return form.bits < 8 and not form.levels


class BlockCodes:
    """The codes of a quantized matrix's blocks of 32 weights."""

    def __init__(self, k: CpuKernel, w: GroupQuantizedReader, columns: int) -> None:
        self.k, self.form = k, w.form
        self.row_bytes = [w.form.words(columns, plane) * 4 for plane in range(len(w.planes))]
        self.planes = [k.view(plane, "uint8") for plane in w.planes]
        # a block's bytes of narrow planes
        self.words = [
            k.view(plane, {2: "uint64", 1: "uint32"}.get(width, "uint8"))
            for plane, width in zip(w.planes, w.form.planes, strict=True)
        ]

    def codes(self, row: Index, block: Index) -> Pair:
        """uint8x16 each."""
        parts = [self._plane(plane, row, block) for plane in range(len(self.planes))]
        if len(parts) == 1:
            return parts[0]
        shift = _bytes(self.form.planes[0])
        even, odd = (
            self.k.let(T.bitwise_or(low, T.shift_left(high, shift)), "codes")
            for low, high in zip(*parts, strict=True)
        )
        return even, odd

    def levels(self, row: Index, block: Index) -> Pair:
        """int8x16 each: what the codes stand for before they are scaled."""
        even, odd = (self._level(code) for code in self.codes(row, block))
        return even, odd

    def _level(self, code: Expr) -> Expr:
        signed = bits("int8x16", code)
        if self.form.levels:
            table = T.Shuffle([tirx.const(level, "int8") for level in self.form.levels], list(range(16)))
            return self.k.let(llvm("int8x16", "wasm.swizzle", table, signed), "levels")
        zero = self.form.zero - 256 if self.form.zero > 127 else self.form.zero  # as a byte: it may wrap
        return self.k.let(signed - repeat(tirx.const(zero, "int8"), 16), "levels") if zero else signed

    def _plane(self, plane: int, row: Index, block: Index) -> Pair:
        """A plane's bits of the codes."""
        k, width = self.k, self.form.planes[plane]
        size = STEP * width // 8
        at = row * self.row_bytes[plane] + block * size
        if width == 8:
            halves = [k.let(self.planes[plane][T.Ramp(at + i, 1, 16)], "bytes") for i in (0, 16)]
            even, odd = (k.let(T.Shuffle(halves, list(range(i, 32, 2))), "codes") for i in (0, 1))
            return even, odd
        packed = k.let(self._packed(plane, at, size), "bytes")
        if width == 1:
            spread = k.let(T.Shuffle([packed], [i // 4 for i in range(16)]), "spread")
            even, odd = (k.let(_bit(spread, part), "bit") for part in (0, 1))
            return even, odd
        if width == 2:  # each byte becomes two, of which the low four bits count
            high = k.let(T.shift_right(packed, _bytes(4)), "high")
            order = [place for i in range(8) for place in (i, 16 + i)]
            packed = k.let(T.Shuffle([packed, high], order), "spread")
        mask = _bytes((1 << width) - 1)
        odd = T.shift_right(packed, _bytes(width))
        even, odd = T.bitwise_and(packed, mask), odd if width == 4 else T.bitwise_and(odd, mask)
        return k.let(even, "even"), k.let(odd, "odd")

    def _packed(self, plane: int, at: Index, size: int) -> Expr:
        """uint8x16: ``size`` bytes, and again after them; LLVM has no good code for shorter vectors."""
        if size == 16:
            return self.planes[plane][T.Ramp(at, 1, 16)]
        word = self.words[plane][T.shift_right(at, size.bit_length() - 1)]
        return bits("uint8x16", repeat(word, 16 // size))


def _bit(spread: Expr, part: int) -> Expr:
    """uint8x16: 0 or 1, of bytes that each stand there four times: bits 0, 2, 4, 6 of each, or those after them."""
    bit = [tirx.const(1 << (2 * (i % 4) + part), "uint8") for i in range(16)]
    own = T.Shuffle(bit, list(range(16)))
    return select(T.bitwise_and(spread, own) == own, _bytes(1), _bytes(0))


def _bytes(value: int) -> Any:
    return repeat(tirx.const(value, "uint8"), 16)
