"""Reads a quantized row by the words of its first plane, as the kernels for CPUs do."""

from mlcweb.kernels.language.builder import u32
from mlcweb.kernels.language.expr import Expr, T
from mlcweb.kernels.layouts.quantized import GroupQuantized, GroupQuantizedReader
from mlcweb.kernels.layouts.storage import WholeMatrix
from mlcweb.quantize.formats import Format

_QUADS = (2, 4, 8)  # bits of codes that are whole quads in a word of the first plane


def by_words(weight: WholeMatrix) -> bool:
    """Whether these kernels take it; those for all tiers take the others."""
    return isinstance(weight, GroupQuantized) and not weight.form.trits and weight.form.planes[0] in _QUADS


def span_of(weight: GroupQuantized) -> int:
    """Columns that are summed before they are scaled: a group, or 32 of a larger one."""
    return min(weight.group_size, 32)


def scales_in_place(form: Format) -> bool:
    """Whether codes may be converted where they are in their word: they are all of a weight but its scale."""
    return len(form.planes) == 1 and not form.levels


def high_word(w: GroupQuantizedReader, row: Expr, index: Expr) -> Expr:
    """uint32: the second plane of the codes in word ``index`` of the first, the first in the lowest bits."""
    low, width = w.form.planes
    each = 32 // low * width  # bits for a word of the first plane
    words = 32 // each
    return T.shift_right(w.planes[1][row, index // words], u32((index % words) * each))


def level_of(w: GroupQuantizedReader, word: Expr, high: Expr | None, place: int) -> Expr:
    """float32: the level of the code at a place of its word, without ``zero``; converted as a signed integer, which is
    one instruction.
    """
    code = _bits(word, w.form.planes[0], place)
    if high is not None:
        code = T.bitwise_or(code, T.shift_left(_bits(high, w.form.planes[1], place), u32(w.form.planes[0])))
    if w.form.levels:
        level: Expr = w.table(code)
        return level
    return T.Cast("float32", T.reinterpret("int32", code))


def _bits(word: Expr, width: int, place: int) -> Expr:
    return T.bitwise_and(T.shift_right(word, u32(width * place)), u32((1 << width) - 1))
