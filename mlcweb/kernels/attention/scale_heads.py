"""Multiplies the outputs of each head by a number of its own, such as a gate."""

from tvm import tirx

from mlcweb.kernels.language.builder import KernelBuilder, dynamic, kernel, load4, ramp4, splat
from mlcweb.kernels.language.expr import T
from mlcweb.kernels.layouts.block_order import offset4
from mlcweb.kernels.layouts.kv_cache import HeadLayout

THREADS = 64


@kernel
def scale_heads(layout: HeadLayout, *, decode: bool = False, block_order: bool = False) -> tirx.PrimFunc:
    """Kernel ``y[n, H * P] = x * scales``, float32. Arguments: x ``[n, H * P]``, scales ``[n, H]``, y.

    n is 1 in ``decode``. ``block_order``: x and y are in block order; scales are not.
    """
    width, n = layout.heads * layout.head_dim, 1 if decode else dynamic("n")
    k = KernelBuilder("scale_heads")
    x = k.buffer("x", (n, width), "float32")
    scales = k.buffer("scales", (n, layout.heads), "float32")
    y = k.output("y", (n, width), "float32")
    (wg, row), tid = k.launch([T.ceildiv(width // 4, THREADS), n], THREADS)
    column = k.let((wg * THREADS + tid) * 4, "column")
    with k.when(column < width):
        at = k.let(offset4(column, width) if block_order else column, "at")
        k.store(y, [row, ramp4(at)], load4(x, row, at) * splat(scales[row, column // layout.head_dim]))
    return k.finish()
