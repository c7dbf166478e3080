"""4-bit matrices times one vector or several, dequantized on the way: the host reference's products."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.kernels.builder import KernelBuilder, dynamic, kernel
from mlcweb.native.function import LANES, Native, argument, built_once, compile_native
from mlcweb.native.vector import constants, fold, keep, repeat

F32 = npt.NDArray[np.float32]
_ROWS, _TOKENS = 2, 4  # sums kept at a time: as many vectors as AVX2 has registers
_HALF = LANES // 2


def matvec(codes: npt.NDArray[np.uint32], scales: F32, x: F32) -> F32:
    """``sum_k (code[n, k] - 7) * scale[n, k / 32] * x[k]``, float32 [N].

    codes uint32 [N, K/8], lowest nibble first; scales float32 [N, K/32]; x float32 [K].
    """
    out = np.empty(len(codes), np.float32)
    _built_matvec(scales.shape[1])(codes, scales, x, out)
    return out


def matmul(codes: npt.NDArray[np.uint32], scales: F32, x: F32) -> F32:
    """The same for each row of x, float32 [T, K]: float32 [N, T]."""
    count = len(x)
    padded = np.pad(x, ((0, -count % _TOKENS), (0, 0)))
    out = np.empty((len(codes), len(padded)), np.float32)
    rows = np.empty((_ROWS, x.shape[1]), np.float32)
    _built_matmul(scales.shape[1])(codes, scales, padded, rows, out)
    return out[:, :count]


@built_once
def _built_matvec(groups: int) -> Native:
    return compile_native("matvec", _matvec(groups))


@built_once
def _built_matmul(groups: int) -> Native:
    return compile_native("matmul", _matmul(groups))


@kernel
def _matvec(groups: int) -> tirx.PrimFunc:
    k = KernelBuilder("matvec")
    n = dynamic("n")
    codes = argument(k, "codes", (n, groups * 4), "uint32")
    scales = argument(k, "scales", (n, groups), "float32")
    x = argument(k, "x", (groups * LANES,), "float32")
    out = argument(k, "out", (n,), "float32")
    lanes = T.Ramp(0, 1, LANES)
    sums = k.local(LANES, name="sums")
    with k.loop(n) as row:
        k.store(sums, lanes, repeat(tirx.const(0.0, "float32")))
        with k.loop(groups) as g:
            values = _dequantize(codes, scales, row, g)
            k.store(sums, lanes, sums[lanes] + values * x[T.Ramp(g * LANES, 1, LANES)])
        k.store(out, row, fold(k, sums[lanes], operator.add, "float32"))
    return k.finish()


@kernel
def _matmul(groups: int) -> tirx.PrimFunc:
    k = KernelBuilder("matmul")
    n, tokens = dynamic("n"), dynamic("tokens")
    codes = argument(k, "codes", (n, groups * 4), "uint32")
    scales = argument(k, "scales", (n, groups), "float32")
    x = argument(k, "x", (tokens, groups * LANES), "float32")
    rows = argument(k, "rows", (_ROWS, groups * LANES), "float32")
    out = argument(k, "out", (n, tokens), "float32")
    lanes = T.Ramp(0, 1, _HALF)
    pairs = [(r, t) for r in range(_ROWS) for t in range(_TOKENS)]
    sums = {pair: k.local(_HALF, name="sums") for pair in pairs}
    with k.loop((n + _ROWS - 1) // _ROWS) as block:
        # past the last row it is that row again
        row = [T.min(block * _ROWS + r, n - 1) for r in range(_ROWS)]
        with k.loop(groups) as g:
            for r in range(_ROWS):
                k.store(rows, [r, T.Ramp(g * LANES, 1, LANES)], _dequantize(codes, scales, row[r], g))
        with k.loop(tokens // _TOKENS) as few:
            for pair in pairs:
                k.store(sums[pair], lanes, repeat(tirx.const(0.0, "float32"), _HALF))
            with k.loop(groups * 2) as half:
                at = T.Ramp(half * _HALF, 1, _HALF)
                weights = [keep(k, rows[r, at], "float32", _HALF) for r in range(_ROWS)]
                inputs = [keep(k, x[few * _TOKENS + t, at], "float32", _HALF) for t in range(_TOKENS)]
                for r, t in pairs:
                    k.store(sums[r, t], lanes, sums[r, t][lanes] + weights[r] * inputs[t])
            for r, t in pairs:
                total = fold(k, sums[r, t][lanes], operator.add, "float32", _HALF)
                k.store(out, [row[r], few * _TOKENS + t], total)
    return k.finish()


def _dequantize(codes: Any, scales: Any, row: Any, group: Any) -> Any:
    """A group's weights."""
    words = codes[row, T.Ramp(group * 4, 1, 4)]
    spread = T.Shuffle([words] * 8, [lane // 8 for lane in range(LANES)])
    shifts = constants("uint32", [lane % 8 * 4 for lane in range(LANES)])
    nibbles = T.bitwise_and(T.shift_right(spread, shifts), repeat(tirx.const(15, "uint32")))
    values = T.Cast(f"int32x{LANES}", nibbles) - repeat(tirx.const(7, "int32"))
    return T.Cast(f"float32x{LANES}", values) * repeat(scales[row, group])
