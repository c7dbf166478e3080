"""Decode's matrix-vector product, with everything around it folded in: RMSNorm before, residual or SwiGLU after.

A workgroup makes a few outputs. A thread takes whole blocks of the input axis, so that neighbouring threads load
neighbouring 16 bytes of codes; vectors are in block order, so that what neighbours read of x is side by side too.
"""

from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.relax.frontend import nn
from tvm.tirx.script import builder as T

from mlcweb.kernels.blocks import place, place4
from mlcweb.kernels.builder import (
    KernelBuilder,
    bits,
    call,
    dynamic,
    f32,
    kernel,
    lane,
    load4,
    select,
    splat,
    u32,
)
from mlcweb.kernels.moe_weights import Part
from mlcweb.kernels.outputs import Activation, activate, soft_cap
from mlcweb.kernels.pieces import Piece
from mlcweb.kernels.reduce import reduce_rows
from mlcweb.kernels.storage import (
    GroupQuantized,
    GroupQuantizedReader,
    Reader,
    Values,
    Vector,
    WholeMatrix,
)
from mlcweb.kernels.tail import is_padded
from mlcweb.kernels.tier import Tier

_FILLED = 100_000  # threads that keep a large GPU busy: docs/performance.md


@dataclass(frozen=True)
class Norm:
    """RMSNorm's weight ``[D]`` and epsilon; LayerNorm's, which takes the mean away first, if ``centered``.

    Only LayerNorm has a ``bias`` ``[D]``, if any.
    """

    weight: Vector
    epsilon: float
    centered: bool = False
    bias: Vector | None = None

    @property
    def tensors(self) -> list[nn.Tensor]:
        """Arguments of a kernel that normalizes."""
        return [*self.weight.tensors, *(self.bias.tensors if self.bias else [])]


def _threads(blocks: int) -> int:
    """As many as divide the blocks of a row, up to four subgroups of 32."""
    return next((threads for threads in (128, 64) if blocks % threads == 0), 32)


def _outputs(rows: int, each: int, threads: int) -> int:
    """Outputs of a workgroup, of ``each`` rows: more share the loads of x, fewer leave a GPU more threads."""
    most = next((count for count in (8, 4) if rows // count * threads >= _FILLED), 2)
    return max(2, most // each)


@kernel
def matvec(
    weight: WholeMatrix,
    tier: Tier,
    *,
    norm: Norm | None = None,
    bias: Values | None = None,
    residual: bool = False,
    activation: Activation | None = None,
    gated: bool = False,
    cap: float | None = None,
    last_row: bool = False,
    from_blocks: bool = True,
    to_blocks: bool = False,
    experts: Part | None = None,
    mixed: bool = False,
    in_place: bool = False,
    piece: Piece | None = None,
) -> tirx.PrimFunc:
    """Kernel ``y[1, N] = f(x) @ weight.T`` in float32, for ``x`` ``[1, K]``, or the last row of ``[n, K]``.

    Arguments: x, [norm weight], weight's tensors, [bias], [residual ``[1, N]``], y. ``gated``: ``weight`` is gate
    over up, ``[2N, K]``, and y = activation(gate) * up. ``cap``: y = cap * tanh(y / cap). ``from_blocks``: x is in
    block order, unless ``last_row``. ``to_blocks``: y, and the residual, are.

    ``experts``: ``weight`` is stacked by expert; ids i32 ``[1, choices]`` follow its tensors. y is ``[choices, N]``,
    a row for each chosen expert, of which those of the part are written. ``mixed``: x is ``[choices, K]``, shares
    f32 ``[1, choices]`` follow ids, and y ``[1, N]`` is the sum over the part's chosen experts of share * product;
    ``in_place``: added to what y holds, and there is no residual. ``piece``: which of y's N ``weight`` makes.
    """
    each = weight.rows // experts.count if experts else weight.rows
    outputs = each // 2 if gated else each
    piece = piece or Piece(0, outputs)
    if norm is not None and norm.centered:
        raise ValueError("matvec folds RMSNorm in, not LayerNorm")
    columns = weight.columns
    step = weight.group_size if isinstance(weight, GroupQuantized) else 4
    blocks = -(-columns // step)
    threads = _threads(blocks)
    per_group = _outputs(each, 2 if gated else 1, threads)
    k = KernelBuilder("matvec")
    y_rows = experts.choices if experts and not mixed else 1
    x_rows = experts.choices if experts and mixed else dynamic("n") if last_row else 1
    x = k.buffer("x", (x_rows, columns), "float32")
    norm_weight = norm.weight.bind(k, "norm") if norm else None
    w = weight.bind(k, "w")
    b = bias.bind(k, "bias") if bias else None
    ids: Any = k.buffer("ids", (1, experts.choices), "int32") if experts else None
    shares: Any = k.buffer("shares", (1, experts.choices), "float32") if experts and mixed else None
    r = k.buffer("residual", (1, piece.outputs), "float32") if residual else None
    y = k.buffer("y", (y_rows, piece.outputs), "float32")
    r = y if in_place else r

    (wg, *y_row), tid = k.launch([T.ceildiv(outputs, per_group), *([y_rows] if y_rows > 1 else [])], threads)
    y_at: Any = y_row[0] if y_row else 0
    first = k.let(wg * per_group, "first")
    rows = [_clamp(first + i, outputs, per_group) for i in range(per_group)]
    if gated:  # a gate row and its up row are summed by the same threads
        rows += [row + outputs for row in rows]
    count = len(rows) + (1 if norm else 0)
    sums = k.local(count, name="sums")
    for i in range(count):
        k.store(sums, i, f32(0.0))

    def add_row(x_row: Any, weight_rows: list[Any], share: Any = None) -> None:
        """Add a row of x times rows of the weight to ``sums``."""
        with k.loop(T.ceildiv(blocks - tid, threads)) as i:
            block = k.let(i * threads + tid, "block")
            loaded = [_load_block(k, w, row, block) for row in weight_rows]
            x4 = []
            for c in range(step // 4):
                column = block * step + c * 4
                past = is_padded(columns, step, c * 4)
                within = k.let(T.min(column, columns - 4), "within") if past else column
                placed = k.let(place4(within, columns), "placed")
                value = k.local(1, "float32x4", name="x4")
                x_value = load4(x, x_row, placed if from_blocks and not last_row else within)
                k.store(value, 0, select(column < columns, x_value, splat(f32(0.0))) if past else x_value)
                if norm_weight is not None:
                    k.store(sums, len(rows), sums[len(rows)] + call("float32", "dot", value[0], value[0]))
                    k.store(value, 0, value[0] * norm_weight.placed(k, placed))
                if share is not None:
                    k.store(value, 0, value[0] * splat(share))
                x4.append(value[0])
            x_sum = k.let(call("float32", "dot", sum(x4[1:], x4[0]), splat(f32(1.0))), "x_sum")
            for j, values in enumerate(loaded):
                k.store(sums, j, sums[j] + _dot_block(w, values, x4, x_sum))

    if experts is None:
        add_row(x_rows - 1, rows)
    elif shares is None:
        expert = k.let(ids[0, y_at] - experts.first, "expert")
        k.only(T.And(expert >= 0, expert < experts.count))
        add_row(0, [row + expert * each for row in rows])
    else:
        with k.loop(experts.choices) as j:
            expert = k.let(ids[0, j] - experts.first, "expert")
            with k.when(T.And(expert >= 0, expert < experts.count)):
                add_row(j, [row + expert * each for row in rows], shares[0, j])

    totals = reduce_rows(k, tier, tid, sums, count, threads)
    with k.when(tid < per_group), k.when(first + tid < outputs):
        scale: Any = T.rsqrt(totals(len(rows)) / float(columns) + f32(norm.epsilon)) if norm else f32(1.0)

        def output(total: Any, row: Any) -> Any:
            return total * scale if b is None else total * scale + b.one(k, 0, row)

        row = first + tid + piece.first if piece.first else first + tid
        value = k.let(output(totals(tid), row), "value")
        if activation is not None:
            value = activate(activation, value)
        if gated:
            value = value * output(totals(tid + per_group), row + piece.outputs)
        if cap is not None:
            value = soft_cap(value, cap)
        at = k.let(place(row, piece.outputs) if to_blocks else row, "at")
        k.store(y, [y_at, at], value if r is None else r[0, at] + value)
    return k.finish()


def _clamp(row: Any, rows: int, per_group: int) -> Any:
    return row if rows % per_group == 0 else T.min(row, rows - 1)


def _load_block(k: KernelBuilder, w: Reader, row: Any, block: Any) -> list[Any]:
    """A block of a row: its words of codes, by fours, and its scale; or four values."""
    if not isinstance(w, GroupQuantizedReader):
        return [k.let(w.four(k, row, block * 4), "w4")]
    words = w.words_per_group
    fours = [k.let(load4(w.codes, row, block * words + i), "words") for i in range(0, words, 4)]
    return [*fours, k.let(w.scale(k, row, block), "scale")]


def _dot_block(w: Reader, values: list[Any], x4: list[Any], x_sum: Any) -> Any:
    """The product of one block of a row with x.

    A code c of 4 bits goes into the mantissa of v = 1 + c/16, which costs a shift and one and-or where a conversion
    from integer runs at a quarter of the rate; then sum((c - 7) x) = 16 sum(v x) - 23 sum(x).
    """
    if not isinstance(w, GroupQuantizedReader):
        return call("float32", "dot", values[0], x4[0])
    *fours, scale = values
    each = w.codes_per_word
    total: Any = None
    for c, value in enumerate(x4):
        codes = [divmod(c * 4 + i, each) for i in range(4)]
        lanes = {word: lane(fours[word // 4], word % 4) for word, _ in codes}
        mantissas = _mantissas([lanes[word] for word, _ in codes], [at * w.bits for _, at in codes], w.bits)
        part = call("float32", "dot", mantissas, value)
        total = part if total is None else total + part
    unit = 1 << w.bits
    return (total * float(unit) - x_sum * float(unit + w.zero)) * scale


def _mantissas(words: list[Any], starts: list[int], width: int) -> Any:
    """float32x4: 1 + c / 2^width of four codes, ``starts`` being their lowest bits in their words.

    A code becomes the mantissa's top bits, those below bit 23.
    """
    shifts = [23 - width - start for start in starts]  # to the left
    if min(shifts) >= 0 and all(word.same_as(words[0]) for word in words):
        shifted = T.shift_left(T.Broadcast(words[0], 4), T.Shuffle([u32(s) for s in shifts], [0, 1, 2, 3]))
    else:
        each = [
            T.shift_left(word, u32(s)) if s > 0 else T.shift_right(word, u32(-s))
            for word, s in zip(words, shifts, strict=True)
        ]
        shifted = T.Shuffle(each, [0, 1, 2, 3])
    mask = ((1 << width) - 1) << (23 - width)
    masked = T.bitwise_and(shifted, T.Broadcast(u32(mask), 4))
    return bits("float32x4", T.bitwise_or(masked, T.Broadcast(u32(0x3F800000), 4)))
