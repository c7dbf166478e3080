"""Decode's matrix-vector product, with everything around it folded in: RMSNorm before, residual or SwiGLU after.

A workgroup makes a few outputs. A thread takes whole blocks of the input axis, so that neighbouring threads load
neighbouring 16 bytes of codes; vectors are in block order, so that what neighbours read of x is side by side too.
"""

from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.relax.frontend import nn
from tvm.tirx.script import builder as T

from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.experts.weights import Part
from mlcweb.kernels.language.builder import (
    KernelBuilder,
    call,
    dynamic,
    f32,
    kernel,
    load4,
    select,
    splat,
)
from mlcweb.kernels.language.reduce import reduce_rows
from mlcweb.kernels.layouts.block_order import offset, offset4
from mlcweb.kernels.layouts.pieces import Piece
from mlcweb.kernels.layouts.quantized import GroupQuantized, GroupQuantizedReader
from mlcweb.kernels.layouts.quantized_block import QuantizedBlock
from mlcweb.kernels.layouts.storage import Reader, Values, Vector, WholeMatrix
from mlcweb.kernels.layouts.tail import is_padded
from mlcweb.kernels.products.outputs import Activation, activate, soft_cap

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
    times: bool = False,
    bias_first: int = 0,
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
    step = weight.step if isinstance(weight, GroupQuantized) else 4
    parts = max(step // weight.group_size, 1) if isinstance(weight, GroupQuantized) else 1
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
    r = k.buffer("residual", (1, piece.outputs), "float32") if residual or times else None
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
                position = k.let(offset4(within, columns), "placed")
                value = k.local(1, "float32x4", name="x4")
                x_value = load4(x, x_row, position if from_blocks and not last_row else within)
                k.store(value, 0, select(column < columns, x_value, splat(f32(0.0))) if past else x_value)
                if norm_weight is not None:
                    k.store(sums, len(rows), sums[len(rows)] + call("float32", "dot", value[0], value[0]))
                    k.store(value, 0, value[0] * norm_weight.four_at(k, position))
                if share is not None:
                    k.store(value, 0, value[0] * splat(share))
                x4.append(value[0])
            x_sums = []
            for part in range(parts):
                own = x4[part * len(x4) // parts : (part + 1) * len(x4) // parts]
                x_sums.append(k.let(call("float32", "dot", sum(own[1:], own[0]), splat(f32(1.0))), "x_sum"))
            for j, block_of_row in enumerate(loaded):
                k.store(sums, j, sums[j] + block_of_row.dot(x4, x_sums))

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
            return total * scale if b is None else total * scale + b.one(k, 0, row + bias_first)

        row = first + tid + piece.first if piece.first else first + tid
        value = k.let(output(totals(tid), row), "value")
        if activation is not None:
            value = activate(activation, value)
        if gated:
            value = value * output(totals(tid + per_group), row + piece.outputs)
        if cap is not None:
            value = soft_cap(value, cap)
        at = k.let(offset(row, piece.outputs) if to_blocks else row, "at")
        k.store(y, [y_at, at], value if r is None else r[0, at] * value if times else r[0, at] + value)
    return k.finish()


def _clamp(row: Any, rows: int, per_group: int) -> Any:
    return row if rows % per_group == 0 else T.min(row, rows - 1)


def _load_block(k: KernelBuilder, w: Reader, row: Any, block: Any) -> "_Weights | QuantizedBlock":
    """A block of a row: its codes and scales, or its weights by fours."""
    if isinstance(w, GroupQuantizedReader) and not w.form.trits:
        return QuantizedBlock(k, w, row, block)
    count = w.step // 4 if isinstance(w, GroupQuantizedReader) else 1
    return _Weights([k.let(w.four(k, row, block * (count * 4) + c * 4), "w4") for c in range(count)])


@dataclass(frozen=True)
class _Weights:
    """A block's weights, by fours."""

    fours: list[Any]

    def dot(self, x4: list[Any], x_sums: list[Any]) -> Any:
        """The product with x."""
        parts = [call("float32", "dot", four, value) for four, value in zip(self.fours, x4, strict=True)]
        return sum(parts[1:], parts[0])
