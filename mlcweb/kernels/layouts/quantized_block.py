"""Loads a block of a quantized row into registers, and multiplies it with x: decode's inner loop."""

from mlcweb.kernels.language.builder import KernelBuilder, bits, call, lane, load4, u32
from mlcweb.kernels.language.expr import Expr, Index, T
from mlcweb.kernels.layouts.quantized import GroupQuantizedReader


class QuantizedBlock:
    """The codes of ``w.step`` weights, in words, and the scales of their groups: one, or several that lie in it."""

    def __init__(self, k: KernelBuilder, w: GroupQuantizedReader, row: Index, block: Index) -> None:
        self.w = w
        self.planes = [self._load_plane(k, plane, row, block) for plane in range(len(w.planes))]
        if w.step < w.group_size:
            groups = [w.group(block * w.step)]
        else:
            count = w.step // w.group_size
            groups = [block * count + i if count > 1 else block for i in range(count)]
        self.scales = []
        for group in groups:
            scale, minimum = w.scales(k, row, group)
            self.scales.append(
                (k.let(scale, "scale"), None if minimum is None else k.let(minimum, "minimum"))
            )

    def _load_plane(self, k: KernelBuilder, plane: int, row: Index, block: Index) -> list[Expr]:
        """Its words."""
        each = 32 // self.w.form.planes[plane]
        words, buffer = self.w.step // each, self.w.planes[plane]
        if words % 4:
            return [k.let(buffer[row, block * words + i], "word") for i in range(words)]
        fours = [k.let(load4(buffer, row, block * words + i), "words") for i in range(0, words, 4)]
        return [lane(four, i) for four in fours for i in range(4)]

    def dot(self, x4: list[Expr], x_sums: list[Expr]) -> Expr:
        """The product of the block with x; ``x_sums`` has the sum of x over each group.

        A code c of 4 bits goes into the mantissa of v = 1 + c/16, which costs a shift and one and-or where a
        conversion from integer runs at a quarter of the rate; then sum((c - 7) x) = 16 sum(v x) - 23 sum(x).
        """
        each = len(x4) // len(self.scales)
        totals: list[Expr] = []
        for part, ((scale, minimum), x_sum) in enumerate(zip(self.scales, x_sums, strict=True)):
            product = self._dot_group(range(part * each, (part + 1) * each), x4, x_sum) * scale
            if minimum is not None:
                product = product + x_sum * minimum
            totals.append(product)
        return sum(totals[1:], totals[0])

    def _dot_group(self, fours: range, x4: list[Expr], x_sum: Expr) -> Expr:
        """The product of a group's levels with x."""
        form = self.w.form
        parts = []
        for four in fours:
            values = self.w.levels(self._codes(four)) if form.levels else self._mantissas(four)
            parts.append(call("float32", "dot", values, x4[four]))
        total = sum(parts[1:], parts[0])
        if form.levels:
            return total
        unit = 1 << form.bits
        return total * float(unit) - x_sum * float(unit + form.zero)

    def _codes_in_words(self, plane: int, four: int) -> tuple[list[Expr], list[int]]:
        """The words that hold a four's codes, and the codes' lowest bits there."""
        width = self.w.form.planes[plane]
        at = [divmod(four * 4 + i, 32 // width) for i in range(4)]
        words = {word: self.planes[plane][word] for word, _ in at}
        return [words[word] for word, _ in at], [place * width for _, place in at]

    def _codes(self, four: int) -> Expr:
        """uint32x4; of the one plane that formats with levels have."""
        (width,) = self.w.form.planes
        words, starts = self._codes_in_words(0, four)
        shifted = _shifted(words, [-start for start in starts])
        return T.bitwise_and(shifted, T.Broadcast(u32((1 << width) - 1), 4))

    def _mantissas(self, four: int) -> Expr:
        """float32x4: 1 + c / 2^bits of four codes.

        A code becomes the mantissa's top bits, those below bit 23.
        """
        form = self.w.form
        base, joined = 23 - form.bits, T.Broadcast(u32(0x3F800000), 4)
        for plane, width in enumerate(form.planes):
            words, starts = self._codes_in_words(plane, four)
            shifted = _shifted(words, [base - start for start in starts])
            masked = T.bitwise_and(shifted, T.Broadcast(u32(((1 << width) - 1) << base), 4))
            joined = T.bitwise_or(masked, joined)
            base += width
        return bits("float32x4", joined)


def _shifted(words: list[Expr], shifts: list[int]) -> Expr:
    """uint32x4: each word shifted to the left, or to the right by what is negative."""
    if min(shifts) >= 0 and all(word.same_as(words[0]) for word in words):
        return T.shift_left(T.Broadcast(words[0], 4), T.Shuffle([u32(s) for s in shifts], [0, 1, 2, 3]))
    each = [
        T.shift_left(word, u32(s)) if s > 0 else T.shift_right(word, u32(-s))
        for word, s in zip(words, shifts, strict=True)
    ]
    return T.Shuffle(each, [0, 1, 2, 3])
