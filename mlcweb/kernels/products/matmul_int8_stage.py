"""Stages the tiles of prefill's int8 product in workgroup memory, and makes int8 of codes on the way."""

from collections.abc import Callable
from dataclasses import dataclass

from tvm import tirx

from mlcweb.kernels.language.builder import KernelBuilder, lane, load4, ramp4, splat, u32
from mlcweb.kernels.language.expr import Buffer, Expr, Index, T
from mlcweb.kernels.layouts.quantized import GroupQuantizedReader
from mlcweb.kernels.layouts.storage import GROUP
from mlcweb.quantize.formats import Format

WORDS = GROUP // 4  # words of four int8 in a group


@dataclass(frozen=True)
class Rounded:
    """x as ``quantize_rows`` leaves it."""

    codes: Buffer
    scales: Buffer


@dataclass(frozen=True)
class StagedRows:
    """Which rows a tile has: ``source`` of x; of the weight, whose first is ``row0``, its columns from ``column0``."""

    source: Callable[[Expr], Expr]
    row0: Index
    column0: Expr
    outputs: int
    gated: bool

    def column(self, quads: int, quad: Expr, i: int) -> Expr:
        """The weight's row for column ``4 * quad + i`` of a tile of so many quads; the latter half may be ups."""
        if not self.gated:
            return self.row0 + T.min(self.column0 + quad * 4 + i, self.outputs - 1)
        gate = self.row0 + T.min(self.column0 + quad % (quads // 2) * 4 + i, self.outputs - 1)
        return T.Select(quad < quads // 2, gate, gate + self.outputs)


class Stage:
    """The tiles in workgroup memory, transposed: word by word, four rows (or columns) a vector.

    ``fetch`` loads what a thread brings into registers, ``put`` stores it.
    """

    def __init__(
        self,
        k: KernelBuilder,
        tile: int,
        many: int,
        rows: StagedRows,
        x: Rounded,
        w: GroupQuantizedReader,
        tid: Expr,
    ) -> None:
        self.k, self.many, self.rows, self.x, self.w, self.tid = k, many, rows, x, w, tid
        form = w.form
        self.direct = takes_codes(form)
        self.words = form.planes[0] if self.direct else WORDS  # of a group, as they are fetched
        self.codes = many * self.words  # words of each column
        self.weight_groups = max(GROUP // form.group, 1)  # groups of weights in one of activations
        self.quads = quads = tile // 4
        # vectors of four rows, and one more: stores of one column spread over the banks
        self.pitch = quads + 1
        self.threads = quads * quads
        size = many * WORDS * self.pitch * 4
        self.a, self.b = k.shared(size, "uint32", name="a_tile"), k.shared(size, "uint32", name="b_tile")
        self.a_scales = k.shared(many * tile, name="a_scales")
        self.b_scales = k.shared(many * tile * self.weight_groups, name="b_scales")
        self.b_minimums = (
            k.shared(many * tile * self.weight_groups, name="b_minimums") if form.minimum else None
        )
        # x: a vector of four words of each of four rows; w: a word of codes of each of four columns
        self.x_parts = many * WORDS // 4
        self.x_items, self.w_items = quads * self.x_parts, quads * self.codes
        self.x_words = k.local(-(-self.x_items // self.threads) * 4, "uint32x4", name="x_words")
        self.w_words = k.local(-(-self.w_items // self.threads) * 4, "uint32", name="w_words")
        self.fetched_scales = k.local(4 * self.weight_groups, name="fetched_scales")
        self.fetched_minimums = (
            k.local(4 * self.weight_groups, name="fetched_minimums") if form.minimum else None
        )

        # the last threads, which bring the fewest codes
        last = self.threads - quads * many
        self.fetches_x_scales: Expr = tirx.all(tid >= last - quads * many, tid < last)
        self.fetches_w_scales = tid >= last

    def fetch(self, group: Index) -> None:
        """Load groups ``group … group + many - 1``."""
        self._fetch_x(group)
        self._fetch_weight(group)
        self._fetch_scales(group)

    def _fetch_x(self, group: Index) -> None:
        k, tid = self.k, self.tid
        for at in range(0, self.x_items, self.threads):
            with k.when(tid + at < self.x_items):
                quad, part = (tid + at) // self.x_parts, (tid + at) % self.x_parts
                for i in range(4):
                    words = load4(self.x.codes, self.rows.source(quad * 4 + i), group * WORDS + part * 4)
                    k.store(self.x_words, at // self.threads * 4 + i, words)

    def _fetch_weight(self, group: Index) -> None:
        k, tid, codes = self.k, self.tid, self.codes
        for at in range(0, self.w_items, self.threads):
            with k.when(tid + at < self.w_items):
                quad, word = (tid + at) // codes, (tid + at) % codes
                first = at // self.threads * 4
                if self.direct:
                    for i in range(4):
                        value = self.w.codes[self._column(quad, i), group * self.words + word]
                        k.store(self.w_words, first + i, value)
                else:
                    columns = [k.let(self._column(quad, i), "column") for i in range(4)]
                    value = k.let(self.w.int8(k, columns, (group * self.words + word) * 4), "int8")
                    for i in range(4):
                        k.store(self.w_words, first + i, lane(value, i))

    def _fetch_scales(self, group: Index) -> None:
        k, tid, quads = self.k, self.tid, self.quads
        quad, g = tid % quads, tid // quads % self.many
        with k.when(self.fetches_x_scales):
            for i in range(4):
                value = self.x.scales[self.rows.source(quad * 4 + i), group + g]
                k.store(self.fetched_scales, i, value)
        with k.when(self.fetches_w_scales):
            for part in range(self.weight_groups):
                own: Index = group + g if self.weight_groups == 1 else (group + g) * self.weight_groups + part
                own = self.w.group(own * GROUP) if self.w.group_size > GROUP else own
                for i in range(4):
                    scale, minimum = self.w.scales(k, self._column(quad, i), own)
                    k.store(self.fetched_scales, part * 4 + i, scale)
                    if self.fetched_minimums is not None and minimum is not None:
                        k.store(self.fetched_minimums, part * 4 + i, minimum)

    def put(self) -> None:
        """Store what was loaded."""
        self._put_x()
        self._put_weight()
        self._put_scales()

    def _put_x(self) -> None:
        k, tid = self.k, self.tid
        for at in range(0, self.x_items, self.threads):
            with k.when(tid + at < self.x_items):
                quad, part = (tid + at) // self.x_parts, (tid + at) % self.x_parts
                rows = [self.x_words[at // self.threads * 4 + i] for i in range(4)]
                for c in range(4):
                    across = T.Shuffle([lane(row, c) for row in rows], [0, 1, 2, 3])
                    k.store(self.a, ramp4(((part * 4 + c) * self.pitch + quad) * 4), across)

    def _put_weight(self) -> None:
        k, tid, codes = self.k, self.tid, self.codes
        for at in range(0, self.w_items, self.threads):
            with k.when(tid + at < self.w_items):
                quad, word = (tid + at) // codes, (tid + at) % codes
                words = [self.w_words[at // self.threads * 4 + i] for i in range(4)]
                word4 = k.let(T.Shuffle(words, [0, 1, 2, 3]), "word4")
                signed = self._signed(word4)
                for i, value in enumerate(signed):
                    k.store(self.b, ramp4(((word * len(signed) + i) * self.pitch + quad) * 4), value)

    def _put_scales(self) -> None:
        k, tid, quads = self.k, self.tid, self.quads
        at = (tid % quads + tid // quads % self.many * quads) * 4
        with k.when(self.fetches_x_scales):
            k.store(self.a_scales, ramp4(at), _four(self.fetched_scales, 0))
        with k.when(self.fetches_w_scales):
            for part in range(self.weight_groups):
                if self.weight_groups > 1:
                    at = (tid % quads + (tid // quads % self.many * self.weight_groups + part) * quads) * 4
                k.store(self.b_scales, ramp4(at), _four(self.fetched_scales, part))
                if self.fetched_minimums is not None and self.b_minimums is not None:
                    k.store(self.b_minimums, ramp4(at), _four(self.fetched_minimums, part))

    def _column(self, quad: Expr, i: int) -> Expr:
        return self.rows.column(self.quads, quad, i)

    def _signed(self, words: Expr) -> list[Expr]:
        """The int8 of fetched words of four columns, uint32x4: of nibbles two, those of the even codes come first."""
        if not self.direct:
            return [words]
        zero = self.w.zero
        if self.w.form.nibbles:
            return [_nibbles_less(words, zero), _nibbles_less(T.shift_right(words, splat(u32(4))), zero)]
        # A code of MLC's is at most 254, so that nothing is carried from one byte to the next.
        more = words + splat(u32((128 - zero) * 0x01010101)) if zero < 128 else words
        return [T.bitwise_xor(more, splat(u32(0x80808080)))]


def takes_codes(form: Format) -> bool:
    """Whether codes become int8 by a few operations on whole words."""
    return (form.nibbles or form.bytes) and not form.levels


def _four(registers: Buffer, part: int) -> Expr:
    return T.Shuffle([registers[part * 4 + i] for i in range(4)], [0, 1, 2, 3])


def _nibbles_less(words: Expr, zero: int) -> Expr:
    """Four int8, code - zero, of the four low nibbles of each byte of a uint32x4; the high bit keeps borrows apart."""
    low = T.bitwise_and(words, splat(u32(0x0F0F0F0F)))
    if zero == 0:
        return low
    return T.bitwise_xor(
        T.bitwise_or(low, splat(u32(0x80808080))) - splat(u32(zero * 0x01010101)), splat(u32(0x80808080))
    )
