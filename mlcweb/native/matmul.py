"""Multiplies quantized matrices by vectors, and dequantizes on the way: these are the host reference's products."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.kernels.language.builder import KernelBuilder, bits, dynamic, kernel, select, u32
from mlcweb.native.function import Native, argument, built_once, compile_native
from mlcweb.native.vector import LANES, constants, fold, keep, repeat
from mlcweb.quantize.formats import Format

F32 = npt.NDArray[np.float32]
_ROWS, _TOKENS = 2, 4  # sums kept at a time: as many vectors as AVX2 has registers


@dataclass(frozen=True)
class _Kind:
    """What of a matrix makes another function: its format, and its blocks in a row."""

    form: Format
    blocks: int

    @property
    def step(self) -> int:
        """Weights of a block, which are dequantized together."""
        return self.form.step

    @property
    def lanes(self) -> int:
        """A vector's, all in one group; several make a block whose size is no power of two."""
        return min(self.form.group, LANES) if self.step == LANES else 8

    @property
    def width(self) -> int:
        """Weights of a row, padding included."""
        return self.blocks * self.step

    @property
    def groups(self) -> int:
        """Scales of a row."""
        return self.width // self.form.group

    def words(self, plane: int) -> int:
        """Words of a block in a plane."""
        return self.step // (32 // self.form.planes[plane])


@dataclass(frozen=True)
class Codes:
    """A quantized matrix ``[N, K]`` of any format but trits: its planes, uint32 ``[N, words]``, and float32
    ``[N, groups]`` scales and minimums, if it has those. All are C-contiguous.
    """

    form: Format
    planes: tuple[npt.NDArray[np.uint32], ...]
    scales: F32
    minimums: F32 | None

    @property
    def kind(self) -> _Kind:
        return _Kind(self.form, self.scales.shape[1] * self.form.group // self.form.step)

    @property
    def arrays(self) -> list[npt.NDArray[Any]]:
        """A function's first arguments."""
        return [*self.planes, self.scales, *([] if self.minimums is None else [self.minimums])]


def matvec(weight: Codes, x: F32) -> F32:
    """``weight @ x``, float32 [N], for x float32 [K], K padded to whole groups."""
    out = np.empty(len(weight.scales), np.float32)
    _built_matvec(weight.kind)(*weight.arrays, x, out)
    return out


def matmul(weight: Codes, x: F32) -> F32:
    """The same for each row of x, float32 [T, K]: float32 [N, T]."""
    count = len(x)
    padded = np.pad(x, ((0, -count % _TOKENS), (0, 0)))
    out = np.empty((len(weight.scales), len(padded)), np.float32)
    rows = np.empty((_ROWS, x.shape[1]), np.float32)
    _built_matmul(weight.kind)(*weight.arrays, padded, rows, out)
    return out[:, :count]


@built_once
def _built_matvec(kind: _Kind) -> Native:
    return compile_native("matvec", _matvec(kind))


@built_once
def _built_matmul(kind: _Kind) -> Native:
    return compile_native("matmul", _matmul(kind))


@kernel
def _matvec(kind: _Kind) -> tirx.PrimFunc:
    k = KernelBuilder("matvec")
    n = dynamic("n")
    weight = _Weight(k, kind, n)
    x = argument(k, "x", (kind.width,), "float32")
    out = argument(k, "out", (n,), "float32")
    lanes = T.Ramp(0, 1, kind.lanes)
    sums = k.local(kind.lanes, name="sums")
    with k.loop(n) as row:
        k.store(sums, lanes, repeat(tirx.const(0.0, "float32"), kind.lanes))
        with k.loop(kind.blocks) as block:
            for first, values in weight.dequantize(row, block):
                inputs = x[T.Ramp(block * kind.step + first, 1, kind.lanes)]
                k.store(sums, lanes, sums[lanes] + values * inputs)
        k.store(out, row, fold(k, sums[lanes], operator.add, "float32", kind.lanes))
    return k.finish()


@kernel
def _matmul(kind: _Kind) -> tirx.PrimFunc:
    k = KernelBuilder("matmul")
    n, tokens = dynamic("n"), dynamic("tokens")
    weight = _Weight(k, kind, n)
    x = argument(k, "x", (tokens, kind.width), "float32")
    rows = argument(k, "rows", (_ROWS, kind.width), "float32")
    out = argument(k, "out", (n, tokens), "float32")
    half_size = min(kind.lanes, LANES // 2)
    lanes = T.Ramp(0, 1, half_size)
    pairs = [(r, t) for r in range(_ROWS) for t in range(_TOKENS)]
    sums = {pair: k.local(half_size, name="sums") for pair in pairs}
    with k.loop((n + _ROWS - 1) // _ROWS) as batch:
        # past the last row it is that row again
        row = [T.min(batch * _ROWS + r, n - 1) for r in range(_ROWS)]
        with k.loop(kind.blocks) as block:
            for r in range(_ROWS):
                for first, values in weight.dequantize(row[r], block):
                    k.store(rows, [r, T.Ramp(block * kind.step + first, 1, kind.lanes)], values)
        with k.loop(tokens // _TOKENS) as few:
            for pair in pairs:
                k.store(sums[pair], lanes, repeat(tirx.const(0.0, "float32"), half_size))
            with k.loop(kind.width // half_size) as half:
                at = T.Ramp(half * half_size, 1, half_size)
                weights = [keep(k, rows[r, at], "float32", half_size) for r in range(_ROWS)]
                inputs = [keep(k, x[few * _TOKENS + t, at], "float32", half_size) for t in range(_TOKENS)]
                for r, t in pairs:
                    k.store(sums[r, t], lanes, sums[r, t][lanes] + weights[r] * inputs[t])
            for r, t in pairs:
                total = fold(k, sums[r, t][lanes], operator.add, "float32", half_size)
                k.store(out, [row[r], few * _TOKENS + t], total)
    return k.finish()


class _Weight:
    """The matrix's arguments, and what they hold."""

    def __init__(self, k: KernelBuilder, kind: _Kind, rows: Any) -> None:
        self.k, self.kind, form = k, kind, kind.form
        self.planes = [
            argument(k, f"plane_{plane}", (rows, kind.blocks * kind.words(plane)), "uint32")
            for plane in range(len(form.planes))
        ]
        self.scales = argument(k, "scales", (rows, kind.groups), "float32")
        self.minimums = argument(k, "minimums", (rows, kind.groups), "float32") if form.minimum else None

    def dequantize(self, row: Any, block: Any) -> list[tuple[int, Any]]:
        """A block's weights in vectors, each after the place in the block that it begins at."""
        kind, form = self.kind, self.kind.form
        size = kind.lanes
        loaded = [self._words(row, block, plane) for plane in range(len(self.planes))]
        vectors = []
        for first in range(0, kind.step, size):
            codes = self._codes(loaded, first)
            if form.levels:
                levels = self._table(codes)
            else:
                zero = repeat(tirx.const(form.zero, "int32"), size)
                levels = T.Cast(f"int32x{size}", codes) - zero
            if form.group >= kind.step:
                group = block // (form.group // kind.step) if form.group > kind.step else block
            else:
                group = block * (kind.step // form.group) + first // form.group
            values = T.Cast(f"float32x{size}", levels) * repeat(self.scales[row, group], size)
            if self.minimums is not None:
                values = values + repeat(self.minimums[row, group], size)
            vectors.append((first, values))
        return vectors

    def _words(self, row: Any, block: Any, plane: int) -> list[Any]:
        """A plane's words of a block, in vectors that are as long as what is made of them, or longer."""
        words, size = self.kind.words(plane), self.kind.lanes
        if words == 1:
            return [repeat(self.planes[plane][row, block], size)]
        return [self.planes[plane][row, T.Ramp(block * words, 1, words)]] * -(-size // words)

    def _codes(self, loaded: list[list[Any]], first: int) -> Any:
        """uint32: the codes from a place in the block on."""
        size, total, below = self.kind.lanes, None, 0
        for words, width in zip(loaded, self.kind.form.planes, strict=True):
            at = [divmod(first + lane, 32 // width) for lane in range(size)]
            spread = T.Shuffle(words, [word for word, _ in at])
            shifts = constants("uint32", [place * width for _, place in at])
            mask = repeat(tirx.const((1 << width) - 1, "uint32"), size)
            part = T.bitwise_and(T.shift_right(spread, shifts), mask)
            if below:
                part = T.bitwise_or(total, T.shift_left(part, repeat(u32(below), size)))
            total = keep(self.k, part, "uint32", size) if len(loaded) > 1 else part
            below += width
        return total

    def _table(self, codes: Any) -> Any:
        """int32: the levels of codes; they are bytes of four words."""
        size, levels = self.kind.lanes, self.kind.form.levels
        codes = keep(self.k, codes, "uint32", size)
        quads = [
            repeat(u32(sum((level & 0xFF) << 8 * i for i, level in enumerate(levels[at : at + 4]))), size)
            for at in (0, 4, 8, 12)
        ]
        quad = T.shift_right(codes, repeat(u32(2), size))
        word = quads[3]
        for i in (2, 1, 0):
            word = select(quad == repeat(u32(i), size), quads[i], word)
        places = T.bitwise_and(codes, repeat(u32(3), size)) * repeat(u32(8), size)
        top = T.shift_left(word, repeat(u32(24), size) - places)
        return T.shift_right(bits(f"int32x{size}", top), repeat(tirx.const(24, "int32"), size))
