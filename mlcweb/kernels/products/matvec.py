"""Decode's matrix-vector product; RMSNorm before it and residual or SwiGLU after it are folded in.

A few tokens are multiplied so too, each by workgroups of its own. A workgroup makes a few outputs. A thread takes
whole blocks of the input axis, so that neighbouring threads load neighbouring 16 bytes of codes; vectors are in block
order, so that what neighbours read of x is side by side too.
"""

from dataclasses import dataclass

from tvm import tirx
from tvm.relax.frontend import nn

from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.experts.weights import ChosenExperts
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
from mlcweb.kernels.language.expr import Expr, Index, T
from mlcweb.kernels.language.reduce import reduce_rows
from mlcweb.kernels.layouts.block_order import offset, offset4
from mlcweb.kernels.layouts.pieces import Piece
from mlcweb.kernels.layouts.quantized import GroupQuantized, GroupQuantizedReader
from mlcweb.kernels.layouts.quantized_block import QuantizedBlock
from mlcweb.kernels.layouts.storage import Reader, Vector, WholeMatrix
from mlcweb.kernels.layouts.tail import is_padded
from mlcweb.kernels.products.outputs import NOTHING, Folded, soft_cap

_FILLED = 100_000  # threads that keep a large GPU busy: docs/performance-notebook.md


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
    max_rows = next((count for count in (8, 4) if rows // count * threads >= _FILLED), 2)
    return max(2, max_rows // each)


@dataclass(frozen=True)
class Vectors:
    """How x and y lie: in block order or their own; the residual lies as y does. ``last_row``: x is ``[n, K]``, of
    which the last row is read, and it is in its own order. ``each_row``: x is ``[n, K]`` and y ``[n, N]``.
    """

    x_block_order: bool = True
    y_block_order: bool = False
    last_row: bool = False
    each_row: bool = False


@kernel
def matvec(
    weight: WholeMatrix,
    tier: Tier,
    *,
    norm: Norm | None = None,
    folded: Folded = NOTHING,
    vectors: Vectors = Vectors(),
    experts: ChosenExperts | None = None,
    piece: Piece | None = None,
) -> tirx.PrimFunc:
    """Kernel ``y[1, N] = f(x) @ weight.T`` in float32, for x ``[1, K]``, or the last row of ``[n, K]``; for each row
    of ``[n, K]``, y is ``[n, N]``.

    Arguments: x, norm, if there is one, w, what ``folded`` has of bias and residual (as y), y. ``piece``: which of
    y's N ``weight`` makes.

    ``experts``: ``weight`` is stacked by expert; ids are i32 ``[1, X]`` (X: ``experts_per_token``). y is ``[X, N]``, a
    row for each chosen expert, of which those of the range are written; a bias has a row for each of all experts.
    Where they are ``mixed``, x is ``[X, K]``,
    shares are f32 ``[1, X]``, and y ``[1, N]`` is the sum over the range's chosen experts of share * product;
    ``in_place``: added to what y holds, and there is no residual.
    """
    if norm is not None and norm.centered:
        raise ValueError("matvec folds RMSNorm in, not LayerNorm")
    if experts is not None and vectors.each_row:
        raise ValueError("matvec has experts for one token")
    product = _Matvec(weight, norm, folded, vectors, experts, piece)
    product.begin()
    product.add_rows()
    product.store(tier)
    return product.k.finish()


class _Matvec:
    """The phases of ``matvec``, in the order of its methods."""

    def __init__(
        self,
        weight: WholeMatrix,
        norm: Norm | None,
        folded: Folded,
        vectors: Vectors,
        experts: ChosenExperts | None,
        piece: Piece | None,
    ) -> None:
        self.norm, self.folded, self.vectors, self.experts = norm, folded, vectors, experts
        self.columns = weight.columns
        self.each = weight.rows // experts.range.count if experts else weight.rows
        self.outputs = folded.outputs(self.each)
        self.piece = piece or Piece(0, self.outputs)
        quantized = isinstance(weight, GroupQuantized)
        self.step = weight.step if quantized else 4
        self.groups = max(self.step // weight.group_size, 1) if quantized else 1  # groups in a step
        self.blocks = -(-self.columns // self.step)
        self.threads = _threads(self.blocks)
        self.per_group = _outputs(self.each, 2 if folded.gated else 1, self.threads)
        self.k = KernelBuilder("matvec")
        self._bind(weight)

    def _bind(self, weight: WholeMatrix) -> None:
        k, experts = self.k, self.experts
        experts_per_token = experts.range.experts_per_token if experts else 1
        mixed = experts is not None and experts.mixed
        in_place = experts is not None and experts.in_place
        if experts:
            k.reads(experts=experts.range.total, choices=experts_per_token)
        each_row, n = self.vectors.each_row, dynamic("n")
        several = each_row or self.vectors.last_row
        self.x_rows: Index = experts_per_token if mixed else n if several else 1
        self.x = k.buffer("x", (self.x_rows, self.columns), "float32")
        self.norm_weight = self.norm.weight.bind(k, "norm") if self.norm else None
        self.w = weight.bind(k, "w")
        self.bias = self.folded.bias.bind(k, "bias") if self.folded.bias else None
        self.ids = k.buffer("ids", (1, experts_per_token), "int32") if experts else None
        self.shares = k.buffer("shares", (1, experts_per_token), "float32") if mixed else None
        residual = self.folded.bind_other(k, n if each_row else 1, self.piece)
        self.y_rows: Index = n if each_row else 1 if mixed else experts_per_token
        y_shape = (self.y_rows, self.piece.outputs)
        self.y = k.in_place("y", y_shape, "float32") if in_place else k.output("y", y_shape, "float32")
        self.residual = self.y if in_place else residual

    def begin(self) -> None:
        """The workgroup's outputs, and sums of 0 for them."""
        k, per_group = self.k, self.per_group
        alone = isinstance(self.y_rows, int) and self.y_rows == 1
        grid: list[Index] = [T.ceildiv(self.outputs, per_group), *([] if alone else [self.y_rows])]
        (wg, *y_row), self.tid = k.launch(grid, self.threads)
        self.y_at: Index = y_row[0] if y_row else 0
        self.first = k.let(wg * per_group, "first")
        self.rows = [_clamp(self.first + i, self.outputs, per_group) for i in range(per_group)]
        if self.folded.gated:  # a gate row and its up row are summed by the same threads
            self.rows += [row + self.outputs for row in self.rows]
        self.count = len(self.rows) + (1 if self.norm else 0)
        self.sums = k.local(self.count, name="sums")
        for i in range(self.count):
            k.store(self.sums, i, f32(0.0))

    def add_rows(self) -> None:
        """Multiply: x, or each of its rows, times the weight's rows, or those of chosen experts."""
        k = self.k
        if self.experts is None or self.ids is None:
            self._add_row(self.y_at if self.vectors.each_row else self.x_rows - 1, self.rows)
            return
        expert_range = self.experts.range
        if self.shares is None:
            expert = k.let(self.ids[0, self.y_at] - expert_range.first, "expert")
            k.only(T.And(expert >= 0, expert < expert_range.count))
            self.expert = expert
            self._add_row(0, [row + expert * self.each for row in self.rows])
            return
        with k.loop(expert_range.experts_per_token) as j:
            expert = k.let(self.ids[0, j] - expert_range.first, "expert")
            with k.when(T.And(expert >= 0, expert < expert_range.count)):
                self._add_row(j, [row + expert * self.each for row in self.rows], self.shares[0, j])

    def _add_row(self, x_row: Index, weight_rows: list[Expr], expert_share: Expr | None = None) -> None:
        """Add a row of x times rows of the weight to ``sums``."""
        k = self.k
        with k.loop(T.ceildiv(self.blocks - self.tid, self.threads)) as i:
            block = k.let(i * self.threads + self.tid, "block")
            loaded = [_load_block(k, self.w, row, block) for row in weight_rows]
            x4 = [self._load_x(x_row, block, c * 4, expert_share) for c in range(self.step // 4)]
            x_sums = []
            for group in range(self.groups):
                own = x4[group * len(x4) // self.groups : (group + 1) * len(x4) // self.groups]
                x_sums.append(k.let(call("float32", "dot", sum(own[1:], own[0]), splat(f32(1.0))), "x_sum"))
            for j, block_of_row in enumerate(loaded):
                k.store(self.sums, j, self.sums[j] + block_of_row.dot(x4, x_sums))

    def _load_x(self, x_row: Index, block: Expr, offset: int, expert_share: Expr | None) -> Expr:
        """Four of a block's x, normalized but for the row's scale; its squares are summed on the way."""
        k, columns, vectors = self.k, self.columns, self.vectors
        column = block * self.step + offset
        past = is_padded(columns, self.step, offset)
        within = k.let(T.min(column, columns - 4), "within") if past else column
        position = k.let(offset4(within, columns), "placed")
        value = k.local(1, "float32x4", name="x4")
        x4 = load4(self.x, x_row, position if vectors.x_block_order and not vectors.last_row else within)
        k.store(value, 0, select(column < columns, x4, splat(f32(0.0))) if past else x4)
        if self.norm_weight is not None:
            squares = len(self.rows)
            k.store(self.sums, squares, self.sums[squares] + call("float32", "dot", value[0], value[0]))
            k.store(value, 0, value[0] * self.norm_weight.four_at(k, position))
        if expert_share is not None:
            k.store(value, 0, value[0] * splat(expert_share))
        return value[0]

    def store(self, tier: Tier) -> None:
        """Reduce the sums over the workgroup, fold, and store: an output a thread."""
        k, tid, folded, piece = self.k, self.tid, self.folded, self.piece
        totals = reduce_rows(k, tier, tid, self.sums, self.count, self.threads)
        with k.when(tid < self.per_group), k.when(self.first + tid < self.outputs):
            scale = f32(1.0)
            if self.norm:
                mean_square = totals(len(self.rows)) / float(self.columns)
                scale = T.rsqrt(mean_square + f32(self.norm.epsilon))

            def output(total: Expr, row: Expr) -> Expr:
                scaled = total * scale
                return scaled if self.bias is None else scaled + self._bias_of(row + folded.bias_first)

            row = self.first + tid + piece.first if piece.first else self.first + tid
            value = k.let(output(totals(tid), row), "value")
            value = folded.activated(value)
            if folded.gated:
                value = folded.times_up(value, output(totals(tid + self.per_group), row + piece.outputs))
            if folded.cap is not None:
                value = soft_cap(value, folded.cap)
            at = k.let(offset(row, piece.outputs) if self.vectors.y_block_order else row, "at")
            other_row = self.y_at if self.vectors.each_row else 0
            other = None if self.residual is None else self.residual[other_row, at]
            k.store(self.y, [self.y_at, at], folded.join(value, other))

    def _bias_of(self, column: Expr) -> Expr:
        """The bias of an output: of the chosen expert, or of those in the range by their shares."""
        k, bias = self.k, self.bias
        assert bias is not None
        if self.experts is None or self.ids is None:
            return bias.one(k, 0, column)
        expert_range = self.experts.range
        if self.shares is None:
            return bias.one(k, self.expert + expert_range.first, column)
        total = k.local(1, name="bias_sum")
        k.store(total, 0, f32(0.0))
        with k.loop(expert_range.experts_per_token) as j:
            expert = k.let(self.ids[0, j], "expert")
            first, stop = expert_range.first, expert_range.first + expert_range.count
            with k.when(T.And(expert >= first, expert < stop)):
                k.store(total, 0, total[0] + self.shares[0, j] * bias.one(k, expert, column))
        return total[0]


def _clamp(row: Expr, rows: int, per_group: int) -> Expr:
    return row if rows % per_group == 0 else T.min(row, rows - 1)


def _load_block(k: KernelBuilder, w: Reader, row: Expr, block: Expr) -> "_FloatBlock | QuantizedBlock":
    """A block of a row: its codes and scales, or its weights by fours."""
    if isinstance(w, GroupQuantizedReader) and not w.form.trits:
        return QuantizedBlock(k, w, row, block)
    count = w.step // 4 if isinstance(w, GroupQuantizedReader) else 1
    return _FloatBlock([k.let(w.four(k, row, block * (count * 4) + c * 4), "w4") for c in range(count)])


@dataclass(frozen=True)
class _FloatBlock:
    """A block's weights, by fours."""

    fours: list[Expr]

    def dot(self, x4: list[Expr], x_sums: list[Expr]) -> Expr:
        """The product with x."""
        parts = [call("float32", "dot", four, value) for four, value in zip(self.fours, x4, strict=True)]
        return sum(parts[1:], parts[0])
