"""RMSNorm and LayerNorm over rows on a CPU: a quad a row."""

from tvm import tirx

from mlcweb.kernels.language.builder import KernelBuilder, f32, kernel
from mlcweb.kernels.language.expr import Expr, T
from mlcweb.kernels.layouts.storage import Values
from mlcweb.kernels.norms.norm import NormRows
from mlcweb.kernels.products.matvec import Norm
from mlcweb.kernels.software.quads import QUAD, quad_sum


@kernel
def normalize(
    norm: Norm,
    *,
    decode: bool = False,
    residual: bool = False,
    last_row: bool = False,
    scale: Values | None = None,
) -> tirx.PrimFunc:
    """Kernel ``y[n, D] = [scale *] ([residual +] norm(x))`` in float32: the arguments of ``norm.normalize``."""
    k = KernelBuilder("norm")
    rows = NormRows.bind(k, norm, QUAD, decode=decode, residual=residual, last_row=last_row, scale=scale)
    width, tid, row, to = norm.weight.columns, rows.tid, rows.row, rows.to
    x, weight, bias, r, y = rows.x, rows.weight, rows.bias, rows.residual, rows.y
    factor, value = k.local(1, name="factor"), k.local(1, name="value")
    middle = k.local(1, name="middle")
    if norm.centered:
        k.store(middle, 0, f32(0.0))
        with k.loop(width // QUAD) as i:
            k.store(middle, 0, middle[0] + x[row, i * QUAD + tid])
        quad_sum(k, middle)
        k.store(middle, 0, middle[0] / float(width))

    def load(column: Expr) -> Expr:
        return x[row, column] - middle[0] if norm.centered else x[row, column]

    k.store(factor, 0, f32(0.0))
    with k.loop(width // QUAD) as i:
        k.store(value, 0, load(i * QUAD + tid))
        k.store(factor, 0, factor[0] + value[0] * value[0])
    quad_sum(k, factor)
    k.store(factor, 0, T.rsqrt(factor[0] / float(width) + f32(norm.epsilon)))
    with k.loop(width // QUAD) as i:
        column = i * QUAD + tid
        result = load(column) * factor[0] * weight.one(k, column)
        if bias is not None:
            result = result + bias.one(k, column)
        result = result if r is None else r[to, column] + result
        k.store(y, [to, column], result if rows.scale is None else result * rows.scale)
    return k.finish()
