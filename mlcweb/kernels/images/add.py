"""Adds rows that a vision tower made to what layers of the language model made of a picture's rows."""

from __future__ import annotations

from tvm import tirx

from mlcweb.kernels.language.builder import KernelBuilder, dynamic, kernel, load4, ramp4
from mlcweb.kernels.language.expr import T

THREADS = 64


@kernel
def add_images(width: int, all_widths: int) -> tirx.PrimFunc:
    """Kernel ``x[n, D] += images[:, part * D : (part + 1) * D]`` where a token is below 0, which stands for a row of a
    picture (DeepStack, https://arxiv.org/abs/2406.04334).

    Arguments: tokens int32 ``[n]``, images ``[n, all_widths]``, x (written), part.
    """
    k, n = KernelBuilder("add_images"), dynamic("n")
    tokens = k.buffer("tokens", (n,), "int32")
    images = k.buffer("images", (n, all_widths), "float32")
    x = k.in_place("x", (n, width), "float32")
    part = k.scalar("part")
    quads = width // 4
    (wg, row), tid = k.launch([T.ceildiv(quads, THREADS), n], THREADS)
    column = k.let((wg * THREADS + tid) * 4, "column")
    with k.when(T.And(tokens[row] < 0, column < width)):
        k.store(x, [row, ramp4(column)], load4(x, row, column) + load4(images, row, part * width + column))
    return k.finish()
