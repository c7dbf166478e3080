"""Looks token ids up in the embedding, and dequantizes their rows."""

from __future__ import annotations

from tvm import tirx

from mlcweb.contract.constants import State
from mlcweb.kernels.cpu.builder import CpuKernel, repeat
from mlcweb.kernels.cpu.readers import four_of
from mlcweb.kernels.language.builder import dynamic, f32, kernel, load4, ramp4
from mlcweb.kernels.language.expr import T
from mlcweb.kernels.layouts.pieces import Piece
from mlcweb.kernels.layouts.storage import WholeMatrix
from mlcweb.kernels.texts.place import Places


@kernel
def embed(
    table: WholeMatrix,
    *,
    prefill: bool,
    scale: float = 1.0,
    positions: WholeMatrix | None = None,
    images: int | None = None,
    piece: Piece | None = None,
    kinds: WholeMatrix | None = None,
    texts: bool = False,
) -> tirx.PrimFunc:
    """Kernel ``x[n, D] = scale * table[tokens] [+ positions[…] + kinds[…]]`` in float32.

    Arguments: ids, table's tensors, [state i32 ``[8]`` in prefill, positions' tensors], [images], x. Prefill reads
    ``tokens`` i32 ``[n]``; decode reads its token from ``state``. ``piece``: which rows of the whole table there are;
    only tokens of those are written. ``images``: in the place of a token below 0 is its row of ``images`` float32,
    so many wide, of which the first D count. ``texts``: a token's position and type are those of ``places``, which
    is there in place of the state where one of them counts.
    """
    k, n = CpuKernel("embed"), dynamic("n") if prefill else 1
    ids = k.buffer("ids", (n if prefill else State.WORDS,), "int32")
    w = table.bind(k, "w")
    places = Places.bind(k, n) if texts and (positions or kinds) else None
    state = k.buffer("state", (State.WORDS,), "int32") if prefill and positions and not texts else ids
    learned = positions.bind(k, "positions") if positions else None
    typed = kinds.bind(k, "kinds") if kinds else None
    seen = k.buffer("images", (n, images), "float32") if images else None
    x = k.output("x", (n, table.columns), "float32")
    row = k.parallel(n)
    four, added = four_of(k, w), []
    if learned is not None:
        position = k.let(places.position(row) if places else state[State.POSITION] + row, "position")
        added.append((four_of(k, learned), position))
    if typed is not None and places is not None:
        added.append((four_of(k, typed), k.let(places.kind(row), "kind")))
    piece = piece or Piece(0, table.rows)
    given = k.let(ids[row if prefill else State.TOKEN], "given")
    token = k.let(T.max(T.min(given, piece.outputs - 1), 0) - piece.first, "token")
    here = T.And(token >= 0, token < table.rows)  # else another piece's launch writes the row
    with k.when(here if seen is None else T.And(here, given >= 0)), k.loop(table.columns // 4) as quad:
        column = k.let(quad * 4, "column")
        value = four(token, column)
        if scale != 1.0:
            value = value * repeat(f32(scale))
        for four_more, at in added:
            value = value + four_more(at, column)
        k.store(x, [row, ramp4(column)], value)
    if seen is not None:
        with k.when(given < 0), k.loop(table.columns // 4) as quad:
            k.store(x, [row, ramp4(quad * 4)], load4(seen, row, quad * 4))
    return k.finish()
