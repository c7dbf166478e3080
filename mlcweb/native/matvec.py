"""A 4-bit matrix times a vector, dequantized in registers: the host reference's decode step."""

from __future__ import annotations

import operator

import numpy as np
import numpy.typing as npt
from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.kernels.builder import KernelBuilder, dynamic, kernel
from mlcweb.native.function import LANES, Native, argument, built_once, compile_native
from mlcweb.native.vector import constants, fold, repeat


def matvec(
    codes: npt.NDArray[np.uint32],
    scales: npt.NDArray[np.float32],
    x: npt.NDArray[np.float32],
    out: npt.NDArray[np.float32],
) -> None:
    """``out[n] = sum_k (code[n, k] - 7) * scale[n, k / 32] * x[k]``, summed in float32.

    codes uint32 [N, K/8], lowest nibble first; scales float32 [N, K/32]; x float32 [K]; out float32 [N].
    """
    _built(scales.shape[1])(codes, scales, x, out)


@built_once
def _built(groups: int) -> Native:
    return compile_native("matvec", _matvec(groups))


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
            words = codes[row, T.Ramp(g * 4, 1, 4)]
            spread = T.Shuffle([words] * 8, [lane // 8 for lane in range(LANES)])
            shifts = constants("uint32", [lane % 8 * 4 for lane in range(LANES)])
            nibbles = T.bitwise_and(T.shift_right(spread, shifts), repeat(tirx.const(15, "uint32")))
            values = T.Cast(f"int32x{LANES}", nibbles) - repeat(tirx.const(7, "int32"))
            scaled = T.Cast(f"float32x{LANES}", values) * repeat(scales[row, g])
            k.store(sums, lanes, sums[lanes] + scaled * x[T.Ramp(g * LANES, 1, LANES)])
        k.store(out, row, fold(k, sums[lanes], "float32", operator.add))
    return k.finish()
