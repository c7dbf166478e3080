"""Decode's matrix-vector product on a CPU: a thread sums several rows, a lane a row; x goes from lane to lane.

A word of codes is loaded once for eight weights of 4 bits, or four of 8. Each code is masked where it is in the word,
and converted as it is, 16^i or 256^i times too large: x is scaled back once for all rows, which is exact. Codes of two
planes or with a table of levels are shifted down instead.
"""

from functools import partial

from tvm import tirx

from mlcweb.kernels.language.builder import KernelBuilder, bits, dynamic, f32, kernel, u32
from mlcweb.kernels.language.expr import Buffer, Expr, Index, T
from mlcweb.kernels.layouts.pieces import Piece
from mlcweb.kernels.layouts.quantized import GroupQuantized
from mlcweb.kernels.layouts.tail import load_padded
from mlcweb.kernels.products.matvec import Norm
from mlcweb.kernels.products.outputs import NOTHING, Folded, soft_cap
from mlcweb.kernels.software.quads import QUAD, broadcast, quad_sum, rows_of_thread, threads_for
from mlcweb.kernels.software.words import high_word, level_of, scales_in_place, span_of


def _vectors(rows: int) -> int:
    """Rows that a thread sums: more share the loads of x, fewer leave more workgroups to the CPUs."""
    return 16 if rows >= 2048 else 8


@kernel
def matvec(
    weight: GroupQuantized,
    *,
    norm: Norm | None = None,
    folded: Folded = NOTHING,
    last_row: bool = False,
    piece: Piece | None = None,
) -> tirx.PrimFunc:
    """Kernel ``y[1, N] = f(x) @ weight.T`` in float32: the arguments of ``products.matvec``, in no block order."""
    product = _Matvec(weight, norm, folded, last_row, piece)
    product.begin()
    with product.k.loop(-(-weight.columns // product.span)) as number:
        product.add_span(number)
    product.store()
    return product.k.finish()


class _Matvec:
    """The phases of ``matvec``, in the order of its methods."""

    def __init__(
        self, weight: GroupQuantized, norm: Norm | None, folded: Folded, last_row: bool, piece: Piece | None
    ) -> None:
        self.norm, self.folded, self.columns = norm, folded, weight.columns
        self.outputs = folded.outputs(weight.rows)
        self.piece = piece or Piece(0, self.outputs)
        self.vectors = _vectors(weight.rows)
        self.per_thread = folded.outputs(self.vectors)
        self.span = span_of(weight)
        self.k = k = KernelBuilder("matvec")
        self.x_rows: Index = dynamic("n") if last_row else 1
        self.x = k.buffer("x", (self.x_rows, weight.columns), "float32")
        self.norm_weight = norm.weight.bind(k, "norm") if norm else None
        self.w = weight.bind(k, "w")
        self.bias = folded.bias.bind(k, "bias") if folded.bias else None
        self.residual = folded.bind_other(k, 1, self.piece)
        self.y = k.output("y", (1, self.piece.outputs), "float32")

    def begin(self) -> None:
        """A thread's lane, rows and registers."""
        k, w, vectors = self.k, self.w, self.vectors
        quads = -(-self.outputs // (self.per_thread * QUAD))
        threads = threads_for(quads)
        (wg,), tid = k.launch([-(-quads * QUAD // threads)], threads)
        self.lane, self.rows = rows_of_thread(k, wg, tid, threads, self.per_thread)
        if self.folded.gated:
            self.rows += [row + self.outputs for row in self.rows]
        self.sums, self.parts = k.local(vectors, name="sums"), k.local(vectors, name="parts")
        self.each = w.codes_per_word
        self.direct = scales_in_place(w.form)
        self.squares, self.mine = k.local(1, name="squares"), k.local(self.each // QUAD, name="mine")
        self.values, self.x_sum = k.local(self.each, name="values"), k.local(1, name="x_sum")
        self.word = k.local(1, "uint32", name="word")
        self.high = k.local(1, "uint32", name="high") if len(w.planes) > 1 else None
        for v in range(vectors):
            k.store(self.sums, v, f32(0.0))
        k.store(self.squares, 0, f32(0.0))

    def add_span(self, number: Expr) -> None:
        """Multiply a span of x with the rows' codes, word by word, then scale."""
        k, w, span = self.k, self.w, self.span
        group = number if span == w.group_size else w.group(number * span)
        k.store(self.x_sum, 0, f32(0.0))
        for v in range(self.vectors):
            k.store(self.parts, v, f32(0.0))
        with k.loop(span // self.each) as step:
            index = number * (span // self.each) + step
            self._load_x(index)
            self._multiply(index)
        for v, row in enumerate(self.rows):
            scale, minimum = w.scales(k, row, group)
            levels = self.parts[v] - self.x_sum[0] * float(w.zero) if w.zero else self.parts[v]
            k.store(self.sums, v, self.sums[v] + levels * scale)
            if minimum is not None:
                k.store(self.sums, v, self.sums[v] + self.x_sum[0] * minimum)

    def _load_x(self, index: Expr) -> None:
        """x of a word's codes: each lane loads a quarter and passes it on."""
        k, mine = self.k, self.mine
        padded = partial(load_padded, columns=self.columns, step=self.span, lanes=1)
        for q in range(self.each // QUAD):
            column = index * self.each + q * QUAD + self.lane[0]
            k.store(mine, q, padded(lambda at: self.x[self.x_rows - 1, at], column))
            if self.norm_weight is not None:
                weight = self.norm_weight
                k.store(self.squares, 0, self.squares[0] + mine[q] * mine[q])
                k.store(mine, q, mine[q] * padded(lambda at: weight.one(k, at), column))  # noqa: B023
        for i in range(self.each):
            k.store(self.values, i, broadcast(mine[i // QUAD], i % QUAD))
            k.store(self.x_sum, 0, self.x_sum[0] + self.values[i])
            if self.direct and i < self.each - 1:
                k.store(self.values, i, self.values[i] * _power2(-self.w.bits * i))

    def _multiply(self, index: Expr) -> None:
        """Add the products of a word of each row to ``parts``."""
        k, w, parts = self.k, self.w, self.parts
        for v, row in enumerate(self.rows):
            k.store(self.word, 0, w.word(row, index))
            if self.high is not None:
                k.store(self.high, 0, high_word(w, row, index))
            if self.direct:
                k.store(parts, v, parts[v] + _dot_word(self.word[0], self.values, w.bits))
                continue
            for i in range(self.each):
                level = level_of(w, self.word[0], None if self.high is None else self.high[0], i)
                k.store(parts, v, parts[v] + level * self.values[i])

    def store(self) -> None:
        """Fold, and store each of the thread's outputs."""
        k, folded, piece, norm = self.k, self.folded, self.piece, self.norm
        factor = k.local(1, name="factor")
        k.store(factor, 0, f32(1.0))
        if norm:
            quad_sum(k, self.squares)
            k.store(factor, 0, T.rsqrt(self.squares[0] / float(self.columns) + f32(norm.epsilon)))

        def output(total: Expr, row: Expr) -> Expr:
            scaled = total * factor[0]
            return scaled if self.bias is None else scaled + self.bias.one(k, 0, row + folded.bias_first)

        for v in range(self.per_thread):
            with k.when(self.rows[v] < self.outputs):
                value = k.local(1, name="value")
                at = self.rows[v] + piece.first if piece.first else self.rows[v]
                k.store(value, 0, output(self.sums[v], at))
                if folded.activation is not None:
                    k.store(value, 0, folded.activated(value[0]))
                if folded.gated:
                    up = output(self.sums[v + self.per_thread], at + piece.outputs)
                    k.store(value, 0, folded.times_up(value[0], up))
                if folded.cap is not None:
                    k.store(value, 0, soft_cap(value[0], folded.cap))
                other = None if self.residual is None else self.residual[0, at]
                k.store(self.y, [0, at], folded.join(value[0], other))


def _power2(exponent: int) -> Expr:
    """float32: a power of 2 by its bits, since TVM prints seven digits of a constant."""
    return bits("float32", u32((127 + exponent) << 23))


def _dot_word(word: Expr, values: Buffer, width: int) -> Expr:
    """The sum of code i times ``values[i]`` times 2^(i * width); the last code has a sign's place, and is shifted."""
    count = 32 // width

    def product(i: int) -> Expr:
        start = width * i
        mask = ((1 << width) - 1) << start
        code = T.shift_right(word, u32(start)) if i == count - 1 else T.bitwise_and(word, u32(mask))
        return T.Cast("float32", T.reinterpret("int32", code)) * values[i]

    products = [product(i) for i in range(count)]
    return sum(products[1:], products[0])
