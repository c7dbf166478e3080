"""Token ids → rows of the embedding, dequantized."""

from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.kernels.blocks import place4
from mlcweb.kernels.builder import KernelBuilder, dynamic, f32, kernel, ramp4, splat
from mlcweb.kernels.storage import Matrix

THREADS = 64


@kernel
def embed(
    table: Matrix,
    *,
    prefill: bool,
    to_blocks: bool = False,
    scale: float = 1.0,
    positions: Matrix | None = None,
) -> tirx.PrimFunc:
    """Kernel ``x[n, D] = scale * table[tokens] [+ positions[…]]`` in float32.

    Arguments: the ids, table's tensors, [state i32 ``[8]`` in prefill, positions' tensors], x. Prefill reads
    ``tokens`` i32 ``[n]``; decode reads its token from ``state``. ``to_blocks``: x is in block order.
    """
    k = KernelBuilder("embed")
    n = dynamic("n") if prefill else 1
    ids = k.buffer("ids", (n if prefill else 8,), "int32")
    w = table.bind(k, "w")
    state = k.buffer("state", (8,), "int32") if prefill and positions else ids
    learned = positions.bind(k, "positions") if positions else None
    x = k.buffer("x", (n, table.columns), "float32")
    quads = table.columns // 4
    (wg, row), tid = k.launch([T.ceildiv(quads, THREADS), n], THREADS)
    quad = k.let(wg * THREADS + tid, "quad")
    with k.when(quad < quads):
        token = k.let(T.max(T.min(ids[row if prefill else 1], table.rows - 1), 0), "token")
        at = k.let(place4(quad * 4, table.columns) if to_blocks else quad * 4, "at")
        value = w.four(k, token, quad * 4)
        if scale != 1.0:
            value = value * splat(f32(scale))
        if learned is not None:
            value = value + learned.four(k, state[0] + row, quad * 4)
        k.store(x, [row, ramp4(at)], value)
    return k.finish()
