"""Group-quantized matrices times one vector or several, dequantized on the way: the host reference's products."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.kernels.builder import KernelBuilder, dynamic, kernel
from mlcweb.native.function import Native, argument, built_once, compile_native
from mlcweb.native.vector import LANES, constants, fold, keep, repeat

F32 = npt.NDArray[np.float32]
_ROWS, _TOKENS = 2, 4  # sums kept at a time: as many vectors as AVX2 has registers


@dataclass(frozen=True)
class _Kind:
    """What of a matrix makes another function: its codes, and its groups in a row."""

    bits: int
    group_size: int
    groups: int

    @property
    def codes_per_word(self) -> int:
        return 32 // self.bits

    @property
    def words_per_group(self) -> int:
        return self.group_size // self.codes_per_word

    @property
    def lanes(self) -> int:
        """A vector's: a group is one, or several where its size is no power of two."""
        return LANES if self.group_size == LANES else 8

    @property
    def width(self) -> int:
        """Weights of a row, padding included."""
        return self.groups * self.group_size


def matvec(codes: npt.NDArray[np.uint32], scales: F32, x: F32, bits: int = 4) -> F32:
    """``sum_k (code[n, k] - max_code) * scale[n, group of k] * x[k]``, float32 [N].

    codes uint32 [N, words], lowest bits first; scales float32 [N, groups]; x float32 [K], K padded to whole groups.
    """
    out = np.empty(len(codes), np.float32)
    _built_matvec(_kind(codes, scales, bits))(codes, scales, x, out)
    return out


def matmul(codes: npt.NDArray[np.uint32], scales: F32, x: F32, bits: int = 4) -> F32:
    """The same for each row of x, float32 [T, K]: float32 [N, T]."""
    count = len(x)
    padded = np.pad(x, ((0, -count % _TOKENS), (0, 0)))
    out = np.empty((len(codes), len(padded)), np.float32)
    rows = np.empty((_ROWS, x.shape[1]), np.float32)
    _built_matmul(_kind(codes, scales, bits))(codes, scales, padded, rows, out)
    return out[:, :count]


def _kind(codes: npt.NDArray[np.uint32], scales: F32, bits: int) -> _Kind:
    groups = scales.shape[1]
    return _Kind(bits, codes.shape[1] // groups * (32 // bits), groups)


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
    codes = argument(k, "codes", (n, kind.groups * kind.words_per_group), "uint32")
    scales = argument(k, "scales", (n, kind.groups), "float32")
    x = argument(k, "x", (kind.width,), "float32")
    out = argument(k, "out", (n,), "float32")
    lanes = T.Ramp(0, 1, kind.lanes)
    sums = k.local(kind.lanes, name="sums")
    with k.loop(n) as row:
        k.store(sums, lanes, repeat(tirx.const(0.0, "float32"), kind.lanes))
        with k.loop(kind.groups) as g:
            for first, values in _dequantize(kind, codes, scales, row, g):
                inputs = x[T.Ramp(g * kind.group_size + first, 1, kind.lanes)]
                k.store(sums, lanes, sums[lanes] + values * inputs)
        k.store(out, row, fold(k, sums[lanes], operator.add, "float32", kind.lanes))
    return k.finish()


@kernel
def _matmul(kind: _Kind) -> tirx.PrimFunc:
    k = KernelBuilder("matmul")
    n, tokens = dynamic("n"), dynamic("tokens")
    codes = argument(k, "codes", (n, kind.groups * kind.words_per_group), "uint32")
    scales = argument(k, "scales", (n, kind.groups), "float32")
    x = argument(k, "x", (tokens, kind.width), "float32")
    rows = argument(k, "rows", (_ROWS, kind.width), "float32")
    out = argument(k, "out", (n, tokens), "float32")
    half_size = min(kind.lanes, LANES // 2)
    lanes = T.Ramp(0, 1, half_size)
    pairs = [(r, t) for r in range(_ROWS) for t in range(_TOKENS)]
    sums = {pair: k.local(half_size, name="sums") for pair in pairs}
    with k.loop((n + _ROWS - 1) // _ROWS) as block:
        # past the last row it is that row again
        row = [T.min(block * _ROWS + r, n - 1) for r in range(_ROWS)]
        with k.loop(kind.groups) as g:
            for r in range(_ROWS):
                for first, values in _dequantize(kind, codes, scales, row[r], g):
                    k.store(rows, [r, T.Ramp(g * kind.group_size + first, 1, kind.lanes)], values)
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


def _dequantize(kind: _Kind, codes: Any, scales: Any, row: Any, group: Any) -> list[tuple[int, Any]]:
    """A group's weights in vectors, each after the place in the group that it begins at."""
    words, each, size = kind.words_per_group, kind.codes_per_word, kind.lanes
    loaded = codes[row, T.Ramp(group * words, 1, words)]
    vectors = []
    for first in range(0, kind.group_size, size):
        at = [divmod(first + lane, each) for lane in range(size)]
        spread = T.Shuffle([loaded] * -(-size // words), [word for word, _ in at])
        shifts = constants("uint32", [place * kind.bits for _, place in at])
        mask = repeat(tirx.const((1 << kind.bits) - 1, "uint32"), size)
        found = T.bitwise_and(T.shift_right(spread, shifts), mask)
        zero = tirx.const((1 << (kind.bits - 1)) - 1, "int32")
        values = T.Cast(f"int32x{size}", found) - repeat(zero, size)
        vectors.append((first, T.Cast(f"float32x{size}", values) * repeat(scales[row, group], size)))
    return vectors
