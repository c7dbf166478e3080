"""Prefill's matrix product on a CPU: a thread makes 8 x 8 outputs, a lane a weight row; x goes from lane to lane.

What is live at a time is kept small: eight sums, a weight of each row, one x.
"""

from tvm import tirx

from mlcweb.kernels.language.builder import KernelBuilder, dynamic, f32, kernel
from mlcweb.kernels.language.expr import Expr, Index, T
from mlcweb.kernels.layouts.pieces import Piece
from mlcweb.kernels.layouts.quantized import GroupQuantized
from mlcweb.kernels.layouts.tail import load_padded
from mlcweb.kernels.products.outputs import NOTHING, Folded
from mlcweb.kernels.software.quads import QUAD, broadcast, rows_of_thread, threads_for
from mlcweb.kernels.software.words import high_word, level_of, span_of

VECTORS = 8  # weight rows of a thread
TOKENS = 8


@kernel
def matmul(weight: GroupQuantized, *, folded: Folded = NOTHING, piece: Piece | None = None) -> tirx.PrimFunc:
    """Kernel ``y[n, N] = x @ weight.T`` in float32: the arguments of ``products.matmul``."""
    product = _Matmul(weight, folded, piece)
    product.begin()
    with product.k.loop(-(-weight.columns // product.span)) as part:
        product.add_span(part)
    product.store()
    return product.k.finish()


class _Matmul:
    """The phases of ``matmul``, in the order of its methods."""

    def __init__(self, weight: GroupQuantized, folded: Folded, piece: Piece | None) -> None:
        folded.refuse_cap()
        self.folded, self.columns, self.span = folded, weight.columns, span_of(weight)
        self.outputs = folded.outputs(weight.rows)
        self.piece = piece or Piece(0, self.outputs)
        self.per_thread = folded.outputs(VECTORS)
        self.k, self.n = KernelBuilder("matmul"), dynamic("n")
        k = self.k
        self.x = k.buffer("x", (self.n, weight.columns), "float32")
        self.w = weight.bind(k, "w")
        self.bias = folded.bias.bind(k, "bias") if folded.bias else None
        self.residual = folded.bind_other(k, self.n, self.piece)
        self.y = k.output("y", (self.n, self.piece.outputs), "float32")

    def begin(self) -> None:
        """A thread's lane, rows, tokens and registers."""
        k = self.k
        quads = -(-self.outputs // (self.per_thread * QUAD))
        threads = threads_for(quads)
        (wg, batch), tid = k.launch([-(-quads * QUAD // threads), T.ceildiv(self.n, TOKENS)], threads)
        self.lane, self.rows = rows_of_thread(k, wg, tid, threads, self.per_thread)
        # tokens past the last are read all the same too
        if self.folded.gated:
            self.rows += [row + self.outputs for row in self.rows]
        self.tokens = [batch * TOKENS + m for m in range(TOKENS)]
        self.sums = k.local(VECTORS * TOKENS, name="sums")
        self.scales, self.zeros = k.local(VECTORS, name="scales"), k.local(VECTORS, name="zeros")
        self.words, self.mine = k.local(VECTORS, "uint32", name="words"), k.local(TOKENS, name="mine")
        self.weights, self.value = k.local(VECTORS, name="weights"), k.local(1, name="value")
        for i in range(VECTORS * TOKENS):
            k.store(self.sums, i, f32(0.0))
        self.highs = k.local(VECTORS, "uint32", name="highs") if len(self.w.planes) > 1 else None

    def add_span(self, part: Expr) -> None:
        """Multiply a span of the rows' columns, word by word, with the tokens'."""
        k, w, span = self.k, self.w, self.span
        self._load_scales(part if span == w.group_size else w.group(part * span))
        with k.loop(span // w.codes_per_word) as step:
            index = part * (span // w.codes_per_word) + step
            for v, row in enumerate(self.rows):
                k.store(self.words, v, w.word(row, index))
                if self.highs is not None:
                    k.store(self.highs, v, high_word(w, row, index))
            for q in range(w.codes_per_word // QUAD):
                column = index * w.codes_per_word + q * QUAD + self.lane[0]
                for m, token in enumerate(self.tokens):
                    k.store(self.mine, m, self._load(token, column))
                for i in range(QUAD):
                    self._multiply(q * QUAD + i, i)

    def _load(self, token: Expr, column: Expr) -> Expr:
        return load_padded(lambda at: self.x[token, at], column, self.columns, self.span, lanes=1)

    def _load_scales(self, group: Index) -> None:
        k, w = self.k, self.w
        for v, row in enumerate(self.rows):
            scale, minimum = w.scales(k, row, group)
            k.store(self.scales, v, scale)
            k.store(self.zeros, v, self.scales[v] * float(-w.zero))
            if minimum is not None:
                k.store(self.zeros, v, self.zeros[v] + minimum)

    def _multiply(self, place: int, lane: int) -> None:
        """Add to all sums the products of the weights at a place of their words; lane ``lane`` has their x."""
        k, sums = self.k, self.sums
        for v in range(VECTORS):
            level = level_of(self.w, self.words[v], None if self.highs is None else self.highs[v], place)
            k.store(self.weights, v, level * self.scales[v] + self.zeros[v])
        for m in range(TOKENS):
            k.store(self.value, 0, broadcast(self.mine[m], lane))
            for v in range(VECTORS):
                at = v * TOKENS + m
                k.store(sums, at, sums[at] + self.weights[v] * self.value[0])

    def store(self) -> None:
        """Fold, and store each of the thread's outputs."""
        k, folded, piece, value = self.k, self.folded, self.piece, self.value
        for m, token in enumerate(self.tokens):
            with k.when(token < self.n):
                for v in range(self.per_thread):
                    with k.when(self.rows[v] < self.outputs):
                        at = self.rows[v] + piece.first if piece.first else self.rows[v]
                        k.store(value, 0, self._biased(self.sums[v * TOKENS + m], at))
                        if folded.activation is not None:
                            k.store(value, 0, folded.activated(value[0]))
                        if folded.gated:
                            up = self.sums[(v + self.per_thread) * TOKENS + m]
                            k.store(value, 0, folded.times_up(value[0], self._biased(up, at + piece.outputs)))
                        other = None if self.residual is None else self.residual[token, at]
                        k.store(self.y, [token, at], folded.join(value[0], other))

    def _biased(self, total: Expr, row: Expr) -> Expr:
        return total if self.bias is None else total + self.bias.one(self.k, 0, row + self.folded.bias_first)
