"""RMSNorm over rows, for prefill; decode folds it into the matrix-vector product."""

from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.kernels.builder import KernelBuilder, call, dynamic, f32, kernel, load4, ramp4, splat
from mlcweb.kernels.linear import Norm
from mlcweb.kernels.reduce import reduce_rows
from mlcweb.kernels.tier import Tier

THREADS = 64


@kernel
def rms_norm(norm: Norm, tier: Tier) -> tirx.PrimFunc:
    """Kernel ``y[n, D] = x / rms(x) * weight`` in float32. Arguments: x ``[n, D]``, weight, y."""
    k = KernelBuilder("rms_norm")
    n, width = dynamic("n"), norm.weight.columns
    x = k.buffer("x", (n, width), "float32")
    weight = norm.weight.bind(k, "norm")
    y = k.buffer("y", (n, width), "float32")
    (row,), tid = k.launch([n], THREADS)
    sums = k.local(1, name="sums")
    k.store(sums, 0, f32(0.0))
    quads = width // 4
    with k.loop(T.ceildiv(quads - tid, THREADS)) as i:
        value = k.let(load4(x, row, (i * THREADS + tid) * 4), "x4")
        k.store(sums, 0, sums[0] + call("float32", "dot", value, value))
    total = reduce_rows(k, tier, tid, sums, 1, THREADS)(0)
    factor = k.let(T.rsqrt(total / float(width) + f32(norm.epsilon)), "factor")
    with k.loop(T.ceildiv(quads - tid, THREADS)) as i:
        column = k.let((i * THREADS + tid) * 4, "column")
        k.store(
            y,
            [row, ramp4(column)],
            load4(x, row, column) * splat(factor) * weight.four(k, column),
        )
    return k.finish()
