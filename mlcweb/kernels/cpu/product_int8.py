"""Multiplies quantized weights as they are stored by rows that were rounded to int8 (``rounding``).

Codes stay integers within a group. Without Relaxed SIMD, and for codes of 8 bits and levels of a table, products are
of int16 pairs (``i32x4.dot_i16x8_s``); with it, of four bytes at a time.
"""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass

from tvm import tirx

from mlcweb.kernels.cpu.builder import CpuKernel, Vector, llvm, repeat, sums_of_lanes
from mlcweb.kernels.cpu.levels import BlockCodes
from mlcweb.kernels.cpu.outputs import Multiply, Outputs
from mlcweb.kernels.cpu.rounding import Rounded
from mlcweb.kernels.cpu.scales import BlockScale, BlockScales, in_lanes
from mlcweb.kernels.language.builder import bits, dynamic, kernel
from mlcweb.kernels.language.expr import Buffer, Expr, Index, T
from mlcweb.kernels.layouts.pieces import Piece
from mlcweb.kernels.layouts.quantized import GroupQuantized
from mlcweb.kernels.layouts.storage import GROUP
from mlcweb.kernels.products.outputs import NOTHING, Folded

_TOKENS = 4  # of a prefill, multiplied at a time
_RELAXED_DOT = "wasm.relaxed.dot.i8x16.i7x16.add.signed"


@kernel
def product_int8(
    weight: GroupQuantized,
    *,
    relaxed: bool,
    folded: Folded = NOTHING,
    decode: bool = False,
    piece: Piece | None = None,
) -> tirx.PrimFunc:
    """Kernel ``y[n, N] = x @ weight.T``; n is 1 in ``decode``.

    Arguments: codes, scales and sums of x as ``round_rows`` makes them for ``Rounded.of(weight.form, relaxed)``; w;
    what ``folded`` has of bias and residual ``[n, N]``; y. ``piece``: which of y's N ``weight`` makes.
    """
    k, n = CpuKernel("product_int8"), 1 if decode else dynamic("n")
    bound = RoundedProduct(k, weight, n, relaxed)
    outputs = Outputs.bind(k, n, weight.rows, folded, piece)
    first = outputs.first(k.parallel(outputs.grid))
    outputs.multiply_all(bound.begin(), n, first, 1 if decode else _TOKENS)
    return k.finish()


class RoundedProduct:
    """Rounded x and a weight, as a kernel's next arguments."""

    def __init__(self, k: CpuKernel, weight: GroupQuantized, n: Index, relaxed: bool) -> None:
        self.k, self.columns = k, weight.columns
        self.rounded, self.blocks = Rounded.of(weight.form, relaxed), -(-weight.columns // GROUP)
        self.codes = k.buffer("codes", (n, self.rounded.words(weight.columns)), "uint32")
        self.scales = k.buffer("scales", (n, self.blocks), "float32")
        sums = self.rounded.sums
        self.sums = k.buffer("sums", (n, 4 * self.blocks), sums) if sums else None
        self.w = weight.bind(k, "w")

    def begin(self) -> Multiply:
        """What multiplies rows of the weight by tokens. To be called after ``parallel``."""
        k = self.k
        codes = k.view(self.codes, "int16" if self.rounded.wide else "int8")
        x = _RoundedRows(k, self.rounded, self.blocks, codes, self.scales, self.sums)
        block_codes, block_scales = BlockCodes(k, self.w, self.columns), BlockScales(k, self.w)

        def multiply(rows: list[Expr], tokens: list[Expr]) -> list[Expr]:
            totals = [[k.vector("total") for _ in tokens] for _ in rows]
            with k.loop(self.blocks) as block:
                for row, scale, total in zip(rows, block_scales.of_rows(rows, block), totals, strict=True):
                    add = x.block(block_codes, scale, row, block)
                    for token, of_token in zip(tokens, total, strict=True):
                        add(token, of_token)
            return [sums_of_lanes(k, [total[t].value for total in totals]) for t in range(len(tokens))]

        return multiply


@dataclass(frozen=True)
class _RoundedRows:
    """x, as ``round_rows`` left it."""

    k: CpuKernel
    rounded: Rounded
    blocks: int
    codes: Buffer
    scales: Buffer
    sums: Buffer | None

    def block(self, weights: BlockCodes, scale: BlockScale, row: Expr, block: Expr) -> _Block:
        """What adds the products of a row's block with a token's, scaled, to a vector."""
        k, wide = self.k, self.rounded.wide
        even, odd = weights.levels(row, block) if wide else weights.codes(row, block)
        if wide:
            # eight columns of the block's first half, then of its second, of the even ones and of the odd
            operands = [
                [
                    k.let(T.Cast("int16x8", T.Shuffle([part], list(range(at, at + 8)))), "levels")
                    for part in (even, odd)
                ]
                for at in (0, 8)
            ]
        else:
            operands = [[bits("int8x16", part) for part in (even, odd)]]
        return _Block(self, block, operands, scale)


class _Block:
    """A row's block, to be multiplied by tokens."""

    def __init__(self, x: _RoundedRows, block: Expr, operands: list[list[Expr]], scale: BlockScale) -> None:
        self.x, self.block, self.operands = x, block, operands
        k = x.k
        self.minimums = in_lanes(k, scale.minimums) if scale.minimums else None
        if x.rounded.wide and len(scale.scales) > 1:  # each half of the block by itself
            self.scales = [k.let(repeat(one), "scale") for one in scale.scales]
        else:
            self.scales = [in_lanes(k, scale.scales)]

    def __call__(self, token: Expr, total: Vector) -> None:
        x, k = self.x, self.x.k
        x_scale = repeat(k.let(x.scales[token, self.block], "x_scale"))
        for scale, dot in zip(self.scales, self._dots(token), strict=True):
            total.add(T.Cast("float32x4", dot) * (scale * x_scale))
        if self.minimums is not None:
            total.add(self.minimums * self._sums(token))

    def _dots(self, token: Expr) -> list[Expr]:
        """int32x4: the products with a group of x, one for each of the scales."""
        group = self.x.k.let(token * self.x.blocks + self.block, "group")
        if not self.x.rounded.wide:
            dot = self._sums(token) if self.x.rounded.zero else repeat(tirx.const(0, "int32"))
            for i, codes in enumerate(self.operands[0]):
                dot = llvm("int32x4", _RELAXED_DOT, self._codes(group, i * 16, 16), codes, dot)
            return [dot]
        dots = []
        for half, parts in enumerate(self.operands):
            products = [
                llvm("int32x4", "wasm.dot", self._codes(group, i * 16 + half * 8, 8), levels)
                for i, levels in enumerate(parts)
            ]
            dots.append(products[0] + products[1])
        return dots if len(self.scales) > 1 else [functools.reduce(operator.add, dots)]

    def _codes(self, group: Expr, at: int, lanes: int) -> Expr:
        return self.x.codes[T.Ramp(group * GROUP + at, 1, lanes)]

    def _sums(self, token: Expr) -> Expr:
        assert self.x.sums is not None
        return self.x.sums[token, T.Ramp(self.block * 4, 1, 4)]
