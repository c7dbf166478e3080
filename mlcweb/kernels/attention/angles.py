"""Computes the cosines and sines of each token's angles, for RoPE that turns by places along several axes.

A head's pairs are divided among the axes: those of a picture's rows turn by line, by column or by time
(https://arxiv.org/abs/2409.12191). Angles are the same in all layers, so they are computed once.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

from mlcweb.contract.constants import Axes
from mlcweb.kernels.language.builder import KernelBuilder, dynamic, kernel, load4, ramp4, select
from mlcweb.kernels.language.expr import Expr, Index, T
from mlcweb.kernels.layouts.kv_cache import ROPE_FINE, HeadLayout, turn4
from mlcweb.kernels.layouts.storage import Values

THREADS = 64


@dataclass(frozen=True)
class Sections:
    """How many of a head's pairs turn along each axis: one axis after the other, or ``interleaved``, in turns as long
    as an axis after the first has any left. Pairs past all turn along the first.
    """

    sizes: tuple[int, ...]
    interleaved: bool = False

    def axes(self, pairs: int) -> list[int]:
        """The axis of each of a head's pairs."""
        if self.interleaved:
            count = len(self.sizes)
            return [p % count if p < count * self.sizes[p % count] else 0 for p in range(pairs)]
        listed = [axis for axis, size in enumerate(self.sizes) for _ in range(size)]
        return (listed + [0] * pairs)[:pairs]

    def axis(self, pair: Expr) -> Index:
        """The axis of a pair, in a kernel."""
        found: Index = 0
        first = 0
        for axis, size in enumerate(self.sizes):
            if axis == 0:
                first = size
                continue
            if self.interleaved:
                count = len(self.sizes)
                inside = T.And(pair % count == axis, pair < count * size)
            else:
                inside = T.And(pair >= first, pair < first + size)
                first += size
            found = select(inside, axis, found)
        return found


class AngleWriter:
    """Arguments of ``angles``, and how a pair's angle is written, on a GPU and on a CPU."""

    def __init__(self, k: KernelBuilder, coarse: Values, sections: Sections) -> None:
        self.k, self.sections, self.tokens = k, sections, dynamic("n")
        self.half = coarse.columns // 2
        self.axes = k.buffer("axes", (self.tokens, Axes.WORDS), "int32")
        self.coarse = k.buffer("rope_coarse", (coarse.rows, coarse.columns), "float32")
        self.fine = k.buffer("rope_fine", (ROPE_FINE, coarse.columns), "float32")
        self.out = k.output("angles", (self.tokens, coarse.columns), "float32")

    def write(self, row: Index, pair: Expr) -> None:
        """Cosine and sine of a token's pair."""
        k, half = self.k, self.half
        position = k.let(self.axes[row, k.let(self.sections.axis(pair), "axis")], "position")
        at, rest = T.shift_right(position, 6), T.bitwise_and(position, ROPE_FINE - 1)
        c1, s1 = k.let(self.coarse[at, pair], "c1"), k.let(self.coarse[at, pair + half], "s1")
        c2, s2 = k.let(self.fine[rest, pair], "c2"), k.let(self.fine[rest, pair + half], "s2")
        k.store(self.out, [row, pair], c1 * c2 - s1 * s2)
        k.store(self.out, [row, pair + half], s1 * c2 + c1 * s2)


@kernel
def angles(coarse: Values, sections: Sections) -> tirx.PrimFunc:
    """Kernel ``angles[n, P]``: cosines of each token's pairs, then sines, float32.

    Arguments: axes int32 ``[n, 4]``, RoPE's tables, of which ``coarse`` is the first, angles.
    """
    k = KernelBuilder("angles")
    angle = AngleWriter(k, coarse, sections)
    (wg, row), tid = k.launch([T.ceildiv(angle.half, THREADS), angle.tokens], THREADS)
    pair = k.let(wg * THREADS + tid, "pair")
    with k.when(pair < angle.half):
        angle.write(row, pair)
    return k.finish()


@kernel
def turn_heads(layout: HeadLayout) -> tirx.PrimFunc:
    """Kernel: queries and keys of ``qkv[n, (H + 2 J) * P]`` turned in place, float32.

    Arguments: angles ``[n, P]``, qkv (written).
    """
    head_dim, half = layout.head_dim, layout.head_dim // 2
    k, n = KernelBuilder("turn_heads"), dynamic("n")
    by_token = k.buffer("angles", (n, head_dim), "float32")
    qkv = k.in_place("qkv", (n, layout.qkv_width), "float32")
    items = (layout.heads + layout.kv_heads) * half // 4  # a thread turns four pairs
    (wg, row), tid = k.launch([T.ceildiv(items, THREADS), n], THREADS)
    item = k.let(wg * THREADS + tid, "item")
    with k.when(item < items):
        head, pair = k.let(item // (half // 4), "head"), k.let((item % (half // 4)) * 4, "pair")
        at = k.let(head * head_dim + pair, "at")
        low, high = k.let(load4(qkv, row, at), "low"), k.let(load4(qkv, row, at + half), "high")
        first, second = turn4(k, low, high, by_token, row, pair, head_dim)
        k.store(qkv, [row, ramp4(at)], first)
        k.store(qkv, [row, ramp4(at + half)], second)
    return k.finish()
