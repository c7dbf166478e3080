"""Reads a quantized matrix in a kernel: one reader serves every ``Format``."""

import functools
from collections.abc import Sequence
from typing import Any

from tvm.relax.frontend import nn

from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.language.builder import (
    KernelBuilder,
    bits,
    call,
    cast,
    f32,
    lane,
    load4,
    product_mod32,
    select,
    splat,
    u32,
)
from mlcweb.kernels.language.expr import Buffer, Expr, Index, T
from mlcweb.kernels.layouts.packed_floats import half_at, low_half
from mlcweb.quantize.formats import Format

_TRIT_POWERS = (1, 3**4, 3**8, 3**12, 3**16)  # of the fours of a word of trits
_TRIT_WORDS = 13  # of a block of 256


class GroupQuantized(nn.Module):
    """A quantized matrix ``[rows, columns]``: its arrays are ``form.tensors``. MLC's last group, where columns do not
    fill it, is padded with codes 0 (``kernels.layouts.tail``).
    """

    origin: Any = None

    def __init__(self, shape: tuple[int, ...], form: Format, tier: Tier) -> None:
        self.rows, self.columns = shape
        self.form, self.bits, self.group_size = form, form.bits, form.group
        self.groups = form.groups(self.columns)
        self.packed = form.lone and form.scale == "float16" and not tier.f16
        *planes, scales = form.tensors
        for plane, name in enumerate(planes):
            setattr(self, name, nn.Parameter((self.rows, form.words(self.columns, plane)), dtype="uint32"))
        setattr(self, scales, self._scales())

    def _scales(self) -> nn.Parameter:
        if not self.form.lone:
            return nn.Parameter((self.rows, self.form.scale_words(self.columns)), dtype="uint32")
        if self.packed:
            return nn.Parameter(((self.rows * self.groups + 1) // 2,), dtype="uint32")
        return nn.Parameter((self.rows * self.groups,), dtype=self.form.scale)

    @property
    def tensors(self) -> list[nn.Tensor]:
        return [getattr(self, name) for name in self.form.tensors]

    @property
    def step(self) -> int:
        """Columns that decode's product takes at a time."""
        return self.form.step

    def bind(self, k: KernelBuilder, name: str) -> "GroupQuantizedReader":
        """Declare codes and scales as the kernel's next arguments."""
        names = [f"{name}_{what}" for what in ("codes", "high", "scales")]
        if len(self.form.planes) == 1:
            names.remove(f"{name}_high")
        k.weights(self.rows * self.columns)
        bound = [k.buffer(n, t.shape, t.dtype) for n, t in zip(names, self.tensors, strict=True)]
        return GroupQuantizedReader(bound, self)


class GroupQuantizedReader:
    """Reads a quantized matrix: codes, scales, or weights."""

    def __init__(self, bound: list[Buffer], weight: GroupQuantized) -> None:
        *self.planes, self.scales_buffer = bound
        self.codes = self.planes[0]
        self.form, self.groups, self.packed = weight.form, weight.groups, weight.packed
        self.bits, self.group_size, self.step = weight.bits, weight.group_size, weight.step
        self.codes_per_word = weight.form.codes_per_word
        self.words_per_group = self.group_size // self.codes_per_word
        self.zero = weight.form.zero  # the code that stands for 0

    def group(self, column: Index) -> Index:
        """The group that a column is in."""
        shift = self.group_size.bit_length() - 1
        return T.shift_right(column, shift) if self.group_size == 1 << shift else column // self.group_size

    # -- scales --------------------------------------------------------------------------------------------

    def scales(self, k: KernelBuilder, row: Index, group: Index) -> tuple[Expr, Expr | None]:
        """float32: the scale of a group, and what is added to its weights, or None."""
        form = self.form
        if form.lone:
            index = row * self.groups + group
            if not self.packed:
                return cast("float32", self.scales_buffer[index]), None
            return half_at(k.let(self.scales_buffer[T.shift_right(index, 1)], "half2"), index), None
        record = _Record(k, self.scales_buffer, form, row, group)
        if form.scale == "e8m0":
            return _e8m0_half(record.bits("d")), None
        scale, minimum = record.half("d"), record.half("m") if form.minimum else None
        if form.sub_bits:
            scale = scale * (T.Cast("float32", record.sub("sub")) - f32(float(form.sub_zero)))
            if minimum is not None:
                minimum = f32(0.0) - minimum * T.Cast("float32", record.sub("min"))
        return scale, minimum

    # -- codes ---------------------------------------------------------------------------------------------

    def word(self, row: Index, index: Index) -> Expr:
        """uint32: word ``index`` of a row's codes, the first in the lowest bits."""
        return self.codes[row, index]

    def codes4(self, k: KernelBuilder, rows: Sequence[Index], column: Index, plane: int = 0) -> Expr:
        """A plane's codes of ``column … column + 3``, a multiple of 4, of one row or four: uint32 or uint32x4.

        They are in the low bits, the first lowest; above them is whatever comes next.
        """
        width, buffer = self.form.planes[plane], self.planes[plane]

        def gather(index: Index, name: str) -> Expr:
            words = [k.let(buffer[row, index], name) for row in rows]
            return words[0] if len(words) == 1 else T.Shuffle(words, [0, 1, 2, 3])

        def spread(shift: Expr) -> Expr:
            return shift if len(rows) == 1 else splat(shift)

        if width == 8:
            return gather(T.shift_right(column, 2), "word")
        if width in (1, 2, 4):
            each = 32 // width
            word = gather(T.shift_right(column, each.bit_length() - 1), "word")
            return T.shift_right(word, spread(u32(T.bitwise_and(column, each - 4) * width)))
        # Ten codes a word, so four may lie in two words. Otherwise the second is the first again, and what it adds
        # lies above the four.
        first, last = k.let(column // 10, "first"), k.let((column + 3) // 10, "last")
        shift = k.let((column - first * 10) * 3, "shift")
        low = T.shift_right(gather(first, "word"), spread(u32(shift)))
        codes = T.bitwise_or(low, T.shift_left(gather(last, "next"), spread(u32(30 - shift))))
        # in registers, not `let`, which TVM would write out at each use
        registers = k.local(1, "uint32" if len(rows) == 1 else "uint32x4", name="found")
        k.store(registers, 0, codes)
        return registers[0]

    def _trits4(self, k: KernelBuilder, rows: Sequence[Index], column: Index) -> list[Expr]:
        """The digits of ``column … column + 3``, each uint32x4 over the rows, or one uint32."""
        four = k.let(T.shift_right(T.bitwise_and(column, 255), 2), "four")
        index = k.let(T.shift_right(column, 8) * _TRIT_WORDS + four // 5, "index")
        place = k.let(four % 5, "place")
        power: Expr = u32(_TRIT_POWERS[-1])
        for i in range(len(_TRIT_POWERS) - 2, -1, -1):
            power = select(place == i, u32(_TRIT_POWERS[i]), power)
        power = k.let(power, "power")
        columns = []
        words = [k.let(product_mod32(self.codes[row, index], power), "fraction") for row in rows]
        for c in range(4):
            digits = []
            for word in words:
                part = k.let(product_mod32(word, u32(3**c)), "digit")
                above = [select(part >= u32(bound), u32(1), u32(0)) for bound in (0x55555556, 0xAAAAAAAB)]
                digits.append(above[0] + above[1])
            columns.append(digits[0] if len(rows) == 1 else T.Shuffle(digits, [0, 1, 2, 3]))
        return columns

    def _across(self, k: KernelBuilder, rows: Sequence[Index], column: Index) -> list[Expr]:
        """The codes of ``column … column + 3``, each uint32x4 over four rows."""
        if self.form.trits:
            return self._trits4(k, rows, column)
        planes = [k.let(self.codes4(k, rows, column, p), "word4") for p in range(len(self.planes))]
        return [self._joined([self._code(p, word, c) for p, word in enumerate(planes)]) for c in range(4)]

    def _code(self, plane: int, word4: Expr, place: int) -> Expr:
        width = self.form.planes[plane]
        return T.bitwise_and(T.shift_right(word4, splat(u32(width * place))), splat(u32((1 << width) - 1)))

    def _joined(self, parts: list[Expr]) -> Expr:
        """A code's planes as one uint32x4."""
        if len(parts) == 1:
            return parts[0]
        return T.bitwise_or(parts[0], T.shift_left(parts[1], splat(u32(self.form.planes[0]))))

    # -- levels and weights --------------------------------------------------------------------------------

    def levels(self, codes: Expr) -> Expr:
        """float32x4: what codes, uint32x4, stand for before they are scaled."""
        if not self.form.levels:
            return T.Cast("float32x4", codes) - splat(f32(float(self.zero)))
        return T.Shuffle([self.table(lane(codes, i)) for i in range(4)], [0, 1, 2, 3])

    def table(self, code: Expr) -> Expr:
        """float32: the table's level of a code, uint32."""
        return T.Cast("float32", self._level(code))

    def _level(self, code: Expr) -> Expr:
        """int32: the table's level; the levels are bytes of four words."""
        levels = self.form.levels
        words = [
            u32(sum((level & 0xFF) << 8 * i for i, level in enumerate(levels[at : at + 4])))
            for at in (0, 4, 8, 12)
        ]
        low, high = (select(code % u32(8) < u32(4), *words[at : at + 2]) for at in (0, 2))
        word = select(code < u32(8), low, high)
        to_top = u32(24) - T.bitwise_and(code, u32(3)) * u32(8)
        return T.shift_right(bits("int32", T.shift_left(word, to_top)), 24)

    def across(self, k: KernelBuilder, rows: Sequence[Index], column: Index) -> list[Expr]:
        """The weights of ``column … column + 3``, a multiple of 4, each float32x4 over four rows."""
        codes = self._across(k, rows, column)
        scales = [self.scales(k, row, self.group(column)) for row in rows]
        scale4 = k.let(T.Shuffle([scale for scale, _ in scales], [0, 1, 2, 3]), "scale4")
        values = [self.levels(code) * scale4 for code in codes]
        if not self.form.minimum:
            return values
        minimum4 = k.let(
            T.Shuffle([minimum for _, minimum in scales if minimum is not None], [0, 1, 2, 3]), "minimum4"
        )
        return [value + minimum4 for value in values]

    def four(self, k: KernelBuilder, row: Index, column: Index) -> Expr:
        """float32x4: the dequantized elements ``[row, column:column+4]``."""
        levels = self.levels(self._codes_of(k, row, column))
        scale, minimum = self.scales(k, row, self.group(column))
        value = levels * splat(scale)
        return value if minimum is None else value + splat(minimum)

    def _codes_of(self, k: KernelBuilder, row: Index, column: Index) -> Expr:
        """uint32x4: the codes ``[row, column:column+4]``."""
        if self.form.trits:
            return T.Shuffle(self._trits4(k, [row], column), [0, 1, 2, 3])
        parts = []
        for plane, width in enumerate(self.form.planes):
            word = self.codes4(k, [row], column, plane)
            shifts = T.Ramp(u32(0), u32(width), 4)
            parts.append(
                T.bitwise_and(
                    T.shift_right(T.Broadcast(word, 4), shifts), T.Broadcast(u32((1 << width) - 1), 4)
                )
            )
        return self._joined(parts)

    def int8(self, k: KernelBuilder, rows: Sequence[Index], column: Index) -> Expr:
        """uint32x4: of four rows, the levels of ``column … column + 3`` as four int8, the first lowest."""
        words: list[Expr] = []
        for c, codes in enumerate(self._across(k, rows, column)):
            if self.form.levels:
                level = T.Shuffle([self._level(lane(codes, i)) for i in range(4)], [0, 1, 2, 3])
            else:
                level = bits("int32x4", codes) - T.Broadcast(self.zero, 4)
            byte = T.bitwise_and(bits("uint32x4", level), splat(u32(0xFF)))
            words.append(T.shift_left(byte, splat(u32(8 * c))) if c else byte)
        return functools.reduce(T.bitwise_or, words)


class _Record:
    """A record of scales, of the block that a row's group is in; each of its words is loaded once."""

    def __init__(self, k: KernelBuilder, buffer: Buffer, form: Format, row: Index, group: Index) -> None:
        self.k, self.buffer, self.form, self.row = k, buffer, form, row
        each = form.per_record // form.group
        self.record = T.shift_right(group, each.bit_length() - 1) if each > 1 else group
        self.index: Index = T.bitwise_and(group, each - 1) if each > 1 else 0
        self.loaded: dict[int, Expr] = {}
        self.pair: Expr | None = None
        self.whole = k.let(load4(buffer, row, self.record * 4), "record") if form.record_bits == 128 else None

    def _word(self, at: int) -> Expr:
        """Word ``at`` of a record of whole words."""
        if self.whole is not None:
            return lane(self.whole, at)
        if at not in self.loaded:
            words = self.form.record_bits // 32
            self.loaded[at] = self.k.let(self.buffer[self.row, self.record * words + at], "scale_word")
        return self.loaded[at]

    def _word_and_shift(self, name: str) -> tuple[Expr, Index]:
        """The word that holds a field's number, and its lowest bit there."""
        width, count, base = self.form.fields[name]
        index: Index = self.index if count > 1 else 0
        if self.form.record_bits % 32 == 0 and base % 32 + width * count <= 32:
            return self._word(base // 32), base % 32 + index * width
        at = self.k.let(self.record * self.form.record_bits + base + index * width, "bit")
        word = self.k.let(self.buffer[self.row, T.shift_right(at, 5)], "scale_word")
        return word, T.bitwise_and(at, 31)

    def bits(self, name: str) -> Expr:
        """uint32: a field's number."""
        word, shift = self._word_and_shift(name)
        return T.bitwise_and(T.shift_right(word, u32(shift)), u32((1 << self.form.fields[name].width) - 1))

    def half(self, name: str) -> Expr:
        """float32: a float16 of the block."""
        word, shift = self._word_and_shift(name)
        if not isinstance(shift, int):
            return low_half(T.shift_right(word, u32(shift)))
        if self.pair is None:  # both are in the first word
            self.pair = self.k.let(call("float32x2", "unpack2x16float", word), "pair")
        return lane(self.pair, shift // 16)

    def sub(self, name: str) -> Expr:
        """uint32: the code of the group's scale or minimum."""
        parts = [self.bits(f"{name}_{i}") for i in range(len(self.form.sub_planes))]
        return parts[0] if len(parts) == 1 else T.bitwise_or(parts[0], T.shift_left(parts[1], u32(4)))


def _e8m0_half(exponent: Expr) -> Expr:
    """float32: 2**(exponent - 128)."""
    small = T.shift_left(u32(0x00200000), T.min(exponent, u32(1)))
    return bits("float32", select(exponent < u32(2), small, T.shift_left(exponent - u32(1), u32(23))))
