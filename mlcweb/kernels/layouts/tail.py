"""Reads rows whose length a step does not divide: what is past the end counts as zeros.

A row of codes is padded to whole groups with codes 0, which stand for -7 times the scale, so it is x that must be
zero there. All is decided when the kernel is written: a row of whole steps costs nothing.
"""

from collections.abc import Callable

from mlcweb.kernels.language.builder import f32, select, splat
from mlcweb.kernels.language.expr import Expr, T


def load_padded(
    load: Callable[[Expr], Expr],
    column: Expr,
    columns: int,
    step: int,
    *,
    offset: int | None = None,
    lanes: int = 4,
) -> Expr:
    """``load(column)``, float32 of ``lanes``, or zeros where ``column`` is past a row of ``columns``.

    The row is read in steps of ``step``; ``offset`` is the column's place in its step, where that is known.
    ``column`` and ``columns`` are multiples of ``lanes``; no load is past the end.
    """
    if not is_padded(columns, step, offset):
        return load(column)
    zero = splat(f32(0.0)) if lanes == 4 else f32(0.0)
    return select(column < columns, load(T.min(column, columns - lanes)), zero)


def is_padded(columns: int, step: int, offset: int | None = None) -> bool:
    """Whether a column may be past the row."""
    tail = columns % step
    return tail > 0 and (offset is None or offset >= tail)
