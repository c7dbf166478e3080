"""Looks token ids up in the embedding, and dequantizes their rows."""

from tvm import tirx

from mlcweb.contract.constants import State
from mlcweb.kernels.language.builder import KernelBuilder, dynamic, f32, kernel, load4, ramp4, splat
from mlcweb.kernels.language.expr import T
from mlcweb.kernels.layouts.block_order import offset4
from mlcweb.kernels.layouts.pieces import Piece
from mlcweb.kernels.layouts.storage import WholeMatrix
from mlcweb.kernels.texts.place import Places

THREADS = 64


@kernel
def embed(
    table: WholeMatrix,
    *,
    prefill: bool,
    block_order: bool = False,
    scale: float = 1.0,
    positions: WholeMatrix | None = None,
    kinds: WholeMatrix | None = None,
    texts: bool = False,
    images: bool = False,
    images_width: int | None = None,
    piece: Piece | None = None,
) -> tirx.PrimFunc:
    """Kernel ``x[n, D] = scale * table[tokens] [+ positions[…]]`` in float32.

    Arguments: the ids, table's tensors, [state i32 ``[8]`` in prefill, positions' tensors], [kinds' tensors],
    [images], x.
    Prefill reads ``tokens`` i32 ``[n]``; decode reads its token from ``state``. ``block_order``: x is in block order.
    ``piece``: which rows of the whole table there are; only tokens of those are written. ``texts``: positions are by
    ``places``, which is there in place of state, and with ``kinds`` a row by the token's type is added too.
    ``images``: in the place of a token below 0 is its row of ``images`` float32 ``[n, D]``, as it is. They may be
    ``images_width`` wide, of which the first D count.
    """
    k = KernelBuilder("embed")
    n = dynamic("n") if prefill else 1
    ids = k.buffer("ids", (n if prefill else 8,), "int32")
    w = table.bind(k, "w")
    places = Places.bind(k, n) if texts and (positions or kinds) else None
    state = k.buffer("state", (State.WORDS,), "int32") if prefill and positions and not texts else ids
    learned = positions.bind(k, "positions") if positions else None
    types = kinds.bind(k, "kinds") if kinds else None
    seen = k.buffer("images", (n, images_width or table.columns), "float32") if images else None
    x = k.output("x", (n, table.columns), "float32")
    quads = table.columns // 4
    (wg, row), tid = k.launch([T.ceildiv(quads, THREADS), n], THREADS)
    quad = k.let(wg * THREADS + tid, "quad")
    piece = piece or Piece(0, table.rows)
    token_id = T.max(T.min(ids[row if prefill else 1], piece.outputs - 1), 0)
    if piece.outputs != table.rows:  # another piece's launch writes the others' rows
        token = k.let(token_id - piece.first, "token")
        k.only(T.And(token >= 0, token < table.rows))
    with k.when(quad < quads):
        if piece.outputs == table.rows:
            token = k.let(token_id, "token")
        at = k.let(offset4(quad * 4, table.columns) if block_order else quad * 4, "at")
        value = w.four(k, token, quad * 4)
        if scale != 1.0:
            value = value * splat(f32(scale))
        if learned is not None:
            position = places.position(row) if places else state[State.POSITION] + row
            value = value + learned.four(k, position, quad * 4)
        if types is not None and places is not None:
            value = value + types.four(k, places.kind(row), quad * 4)
        if seen is None:
            k.store(x, [row, ramp4(at)], value)
        else:
            with k.when(ids[row] >= 0):
                k.store(x, [row, ramp4(at)], value)
            with k.when(ids[row] < 0):
                k.store(x, [row, ramp4(at)], load4(seen, row, quad * 4))
    return k.finish()
