"""The tiles of prefill's int8 product in workgroup memory: how they get there, and what codes become on the way."""

from collections.abc import Callable
from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.kernels.language.builder import KernelBuilder, lane, load4, ramp4, splat, u32
from mlcweb.kernels.layouts.quantized import GroupQuantizedReader
from mlcweb.kernels.layouts.storage import GROUP
from mlcweb.quantize.formats import Format

WORDS = GROUP // 4  # words of four int8 in a group


class Stage:
    """The tiles in workgroup memory, transposed: word by word, four rows (or columns) a vector.

    ``source`` says which of x's a row is; ``row0`` is the weight's first row. ``fetch`` loads what a thread brings
    into registers, ``put`` stores it.
    """

    def __init__(
        self,
        k: KernelBuilder,
        tile: int,
        many: int,
        source: Callable[[Any], Any],
        x: Any,
        x_scales: Any,
        w: GroupQuantizedReader,
        row0: Any,
        column0: Any,
        outputs: int,
        tid: Any,
        gated: bool,
    ) -> None:
        self.k, self.many, self.x, self.x_scales, self.w, self.tid = k, many, x, x_scales, w, tid
        form = w.form
        self.direct = takes_codes(form)
        self.words = form.planes[0] if self.direct else WORDS  # of a group, as they are fetched
        self.codes = many * self.words  # words of each column
        self.parts = max(GROUP // form.group, 1)  # groups of weights in one of activations
        self.quads = quads = tile // 4
        self.pitch = (
            quads + 1
        )  # vectors of four rows, and one more: stores of one column spread over the banks
        self.threads = quads * quads
        size = many * WORDS * self.pitch * 4
        self.a, self.b = k.shared(size, "uint32", name="a_tile"), k.shared(size, "uint32", name="b_tile")
        self.a_scales = k.shared(many * tile, name="a_scales")
        self.b_scales = k.shared(many * tile * self.parts, name="b_scales")
        self.b_minimums = k.shared(many * tile * self.parts, name="b_minimums") if form.minimum else None
        # x: a vector of four words of each of four rows; w: a word of codes of each of four columns
        self.x_parts = many * WORDS // 4
        self.x_items, self.w_items = quads * self.x_parts, quads * self.codes
        self.x_words = k.local(-(-self.x_items // self.threads) * 4, "uint32x4", name="x_words")
        self.w_words = k.local(-(-self.w_items // self.threads) * 4, "uint32", name="w_words")
        self.fetched_scales = k.local(4 * self.parts, name="fetched_scales")
        self.fetched_minimums = k.local(4 * self.parts, name="fetched_minimums") if form.minimum else None

        # the last threads, which bring the fewest codes
        last = self.threads - quads * many
        self.fetches_x_scales = tirx.all(tid >= last - quads * many, tid < last)
        self.fetches_w_scales = tid >= last

        def column(quad: Any, i: int) -> Any:
            if not gated:
                return row0 + T.min(column0 + quad * 4 + i, outputs - 1)
            gate = row0 + T.min(column0 + quad % (quads // 2) * 4 + i, outputs - 1)
            return T.Select(quad < quads // 2, gate, gate + outputs)

        self.row, self.column = source, column

    def fetch(self, group: Any) -> None:
        """Load groups ``group … group + many - 1``."""
        k, tid, quads, codes = self.k, self.tid, self.quads, self.codes
        for at in range(0, self.x_items, self.threads):
            with k.when(tid + at < self.x_items):
                quad, part = (tid + at) // self.x_parts, (tid + at) % self.x_parts
                for i in range(4):
                    words = load4(self.x, self.row(quad * 4 + i), group * WORDS + part * 4)
                    k.store(self.x_words, at // self.threads * 4 + i, words)
        for at in range(0, self.w_items, self.threads):
            with k.when(tid + at < self.w_items):
                quad, word = (tid + at) // codes, (tid + at) % codes
                first = at // self.threads * 4
                if self.direct:
                    for i in range(4):
                        value = self.w.codes[self.column(quad, i), group * self.words + word]
                        k.store(self.w_words, first + i, value)
                else:
                    columns = [k.let(self.column(quad, i), "column") for i in range(4)]
                    value = k.let(self.w.int8(k, columns, (group * self.words + word) * 4), "int8")
                    for i in range(4):
                        k.store(self.w_words, first + i, lane(value, i))
        quad, g = tid % quads, tid // quads % self.many
        with k.when(self.fetches_x_scales):
            for i in range(4):
                k.store(self.fetched_scales, i, self.x_scales[self.row(quad * 4 + i), group + g])
        with k.when(self.fetches_w_scales):
            for part in range(self.parts):
                own = group + g if self.parts == 1 else (group + g) * self.parts + part
                own = self.w.group(own * GROUP) if self.w.group_size > GROUP else own
                for i in range(4):
                    scale, minimum = self.w.scales(k, self.column(quad, i), own)
                    k.store(self.fetched_scales, part * 4 + i, scale)
                    if self.fetched_minimums is not None:
                        k.store(self.fetched_minimums, part * 4 + i, minimum)

    def put(self) -> None:
        """Store what was loaded."""
        k, tid, quads, codes = self.k, self.tid, self.quads, self.codes
        for at in range(0, self.x_items, self.threads):
            with k.when(tid + at < self.x_items):
                quad, part = (tid + at) // self.x_parts, (tid + at) % self.x_parts
                rows = [self.x_words[at // self.threads * 4 + i] for i in range(4)]
                for c in range(4):
                    across = T.Shuffle([lane(row, c) for row in rows], [0, 1, 2, 3])
                    k.store(self.a, ramp4(((part * 4 + c) * self.pitch + quad) * 4), across)
        for at in range(0, self.w_items, self.threads):
            with k.when(tid + at < self.w_items):
                quad, word = (tid + at) // codes, (tid + at) % codes
                words = [self.w_words[at // self.threads * 4 + i] for i in range(4)]
                word4 = k.let(T.Shuffle(words, [0, 1, 2, 3]), "word4")
                signed = self._signed(word4)
                for i, value in enumerate(signed):
                    k.store(self.b, ramp4(((word * len(signed) + i) * self.pitch + quad) * 4), value)
        at = (tid % quads + tid // quads % self.many * quads) * 4
        with k.when(self.fetches_x_scales):
            k.store(self.a_scales, ramp4(at), _four(self.fetched_scales, 0))
        with k.when(self.fetches_w_scales):
            for part in range(self.parts):
                if self.parts > 1:
                    at = (tid % quads + (tid // quads % self.many * self.parts + part) * quads) * 4
                k.store(self.b_scales, ramp4(at), _four(self.fetched_scales, part))
                if self.fetched_minimums is not None:
                    k.store(self.b_minimums, ramp4(at), _four(self.fetched_minimums, part))

    def _signed(self, words: Any) -> list[Any]:
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


def _four(registers: Any, part: int) -> Any:
    return T.Shuffle([registers[part * 4 + i] for i in range(4)], [0, 1, 2, 3])


def _nibbles_less(words: Any, zero: int) -> Any:
    """Four int8, code - zero, of the four low nibbles of each byte of a uint32x4; the high bit keeps borrows apart."""
    low = T.bitwise_and(words, splat(u32(0x0F0F0F0F)))
    if zero == 0:
        return low
    return T.bitwise_xor(
        T.bitwise_or(low, splat(u32(0x80808080))) - splat(u32(zero * 0x01010101)), splat(u32(0x80808080))
    )
