"""RMSNorm over rows on a CPU, for prefill: a quad a row."""

from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.kernels.builder import KernelBuilder, dynamic, f32, kernel
from mlcweb.kernels.linear import Norm
from mlcweb.kernels.software.quads import QUAD, quad_sum


@kernel
def rms_norm(norm: Norm) -> tirx.PrimFunc:
    """Kernel ``y[n, D] = x / rms(x) * weight`` in float32. Arguments: x ``[n, D]``, weight, y."""
    k = KernelBuilder("rms_norm")
    n, width = dynamic("n"), norm.weight.columns
    x = k.buffer("x", (n, width), "float32")
    weight = norm.weight.bind(k, "norm")
    y = k.buffer("y", (n, width), "float32")
    (row,), tid = k.launch([n], QUAD)
    factor, value = k.local(1, name="factor"), k.local(1, name="value")
    k.store(factor, 0, f32(0.0))
    with k.loop(width // QUAD) as i:
        k.store(value, 0, x[row, i * QUAD + tid])
        k.store(factor, 0, factor[0] + value[0] * value[0])
    quad_sum(k, factor)
    k.store(factor, 0, T.rsqrt(factor[0] / float(width) + f32(norm.epsilon)))
    with k.loop(width // QUAD) as i:
        column = i * QUAD + tid
        k.store(y, [row, column], x[row, column] * factor[0] * weight.one(k, 0, column))
    return k.finish()
