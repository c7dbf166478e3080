"""Lays out the paged KV cache, which kernels read and write through ``KVCache``, and makes RoPE's tables.

A page holds ``page_size`` tokens of one layer: ``kv[page, 0]`` keys and ``kv[page, 1]`` values, per KV head, in words:
a word is an element, or two float16 in a uint32 where there is no shader-f16. Keys are ``[words of a head / 4,
page_size, 4]``, so that threads on neighbouring tokens load neighbouring 16 bytes; values are ``[page_size, words of
a head]``, so that threads on neighbouring dimensions do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlcweb.contract.constants import PAGE_TOKENS, State
from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.language.builder import KernelBuilder, call, cast, lane, load4, ramp4
from mlcweb.kernels.language.expr import Buffer, Expr, Index, T

PAGE_SIZE = PAGE_TOKENS
# A position is coarse * ROPE_FINE + fine; its angle's cosine and sine follow from the two parts' by the addition
# theorem, so the tables stay small and exact, and no shader computes the cosine of a large angle.
ROPE_FINE = 64


@dataclass(frozen=True)
class HeadLayout:
    """Attention's shape: query heads, KV heads, head size, and the KV cache's pages.

    ``storage`` is the dtype of the KV cache's words: float32, float16, or uint32 for two float16 (``kv_storage``).
    ``appends``: the layer has keys and values of its own; else it reads those of an earlier layer's cache.
    """

    heads: int
    kv_heads: int
    head_dim: int
    pages: int
    storage: str = "float32"
    appends: bool = True

    @property
    def qkv_width(self) -> int:
        """Columns of queries, and of keys and values where the layer has its own."""
        return (self.heads + (2 * self.kv_heads if self.appends else 0)) * self.head_dim

    @property
    def group(self) -> int:
        """Query heads that share a KV head."""
        return self.heads // self.kv_heads

    @property
    def word(self) -> int:
        """Elements in a word of the KV cache."""
        return 2 if self.storage == "uint32" else 1

    @property
    def words(self) -> int:
        """Words of a head's key or value."""
        return self.head_dim // self.word

    @property
    def page_shape(self) -> tuple[int, int, int, int]:
        """A layer's cache: [pages, keys and values, KV heads, words]."""
        return (self.pages, 2, self.kv_heads, PAGE_SIZE * self.words)


def kv_storage(dtype: str, tier: Tier) -> str:
    """The words' dtype on a tier, for elements of ``dtype``: float16 is packed where no shader can name it."""
    return "uint32" if dtype == "float16" and not tier.f16 else dtype


class KVCache:
    """A layer's cache as a kernel's next argument: float32 to the kernel, whatever its elements are.

    Only whole words are stored, so that no two threads write halves of one. ``fours`` promises that the kernel calls
    nothing but the methods of four elements, of which the buffer then consists. ``written``: the kernel stores too.
    """

    def __init__(
        self, k: KernelBuilder, layout: HeadLayout, *, fours: bool = False, written: bool = False
    ) -> None:
        self.k, self.layout, self.fours = k, layout, fours
        declare = k.in_place if written else k.buffer
        self.buffer = declare("kv", layout.page_shape, layout.storage)

    def key4(self, page: Index, head: Index, slot: Index, quad: Index) -> Expr:
        """float32x4: dimensions ``4*quad … 4*quad+3`` of the key of the page's token ``slot``."""
        return self._load4(page, 0, head, self._key_quad(slot, quad))

    def value4(self, page: Index, head: Index, slot: Index, quad: Index) -> Expr:
        """float32x4: the same of its value."""
        return self._load4(page, 1, head, self._value_quad(slot, quad))

    def store_key4(self, page: Index, head: Index, slot: Index, quad: Index, value: Expr) -> None:
        """Store what ``key4`` loads; ``value`` is a name, since its lanes are taken apart."""
        self._store4(page, 0, head, self._key_quad(slot, quad), value)

    def store_value4(self, page: Index, head: Index, slot: Index, quad: Index, value: Expr) -> None:
        """Store what ``value4`` loads."""
        self._store4(page, 1, head, self._value_quad(slot, quad), value)

    def key_word(self, page: Index, head: Index, slot: Index, four: Index, at: Index) -> list[Expr]:
        """float32s: the elements of the word ``4*four + at`` of a token's key."""
        return self._load(page, 0, head, (four * PAGE_SIZE + slot) * 4 + at)

    def value_word(self, page: Index, head: Index, slot: Index, word: Index) -> list[Expr]:
        """float32s: the elements of a word of a token's value."""
        return self._load(page, 1, head, slot * self.layout.words + word)

    def store_key_word(
        self, page: Index, head: Index, slot: Index, four: Index, at: Index, values: list[Expr]
    ) -> None:
        """Store what ``key_word`` loads."""
        self._store(page, 0, head, (four * PAGE_SIZE + slot) * 4 + at, values)

    def store_value_word(
        self, page: Index, head: Index, slot: Index, word: Index, values: list[Expr]
    ) -> None:
        """Store what ``value_word`` loads."""
        self._store(page, 1, head, slot * self.layout.words + word, values)

    def _key_quad(self, slot: Index, quad: Index) -> Index:
        if self.layout.word == 1:
            return (quad * PAGE_SIZE + slot) * 4
        return (T.shift_right(quad, 1) * PAGE_SIZE + slot) * 4 + T.bitwise_and(quad, 1) * 2

    def _value_quad(self, slot: Index, quad: Index) -> Index:
        return slot * self.layout.words + quad * (4 // self.layout.word)

    def _load4(self, page: Index, part: int, head: Index, word: Index) -> Expr:
        if self.layout.word == 1:
            return cast("float32x4", load4(self.buffer, page, part, head, word))
        pair = self.k.let(self.buffer[page, part, head, T.Ramp(word, 1, 2)], "pair")
        low, high = (self.k.let(_unpack(lane(pair, i)), "halves") for i in (0, 1))
        return T.Shuffle([low, high], [0, 1, 2, 3])

    def _store4(self, page: Index, part: int, head: Index, word: Index, value: Expr) -> None:
        size = self.layout.word
        if not self.fours:
            for i in range(0, 4, size):
                self._store(page, part, head, word + i // size, [lane(value, i + e) for e in range(size)])
        elif size == 1:
            index = [page, part, head, ramp4(word)]
            self.k.store(self.buffer, index, cast(f"{self.layout.storage}x4", value))
        else:
            pair = T.Shuffle([_pack(lane(value, i), lane(value, i + 1)) for i in (0, 2)], [0, 1])
            self.k.store(self.buffer, [page, part, head, T.Ramp(word, 1, 2)], pair)

    def _load(self, page: Index, part: int, head: Index, word: Index) -> list[Expr]:
        stored = self.buffer[page, part, head, word]
        if self.layout.word == 1:
            return [cast("float32", stored)]
        elements = self.k.let(_unpack(stored), "halves")
        return [lane(elements, 0), lane(elements, 1)]

    def _store(self, page: Index, part: int, head: Index, word: Index, values: list[Expr]) -> None:
        one = cast(self.layout.storage, values[0]) if self.layout.word == 1 else _pack(*values)
        self.k.store(self.buffer, [page, part, head, word], one)


def _pack(low: Expr, high: Expr) -> Expr:
    return call("uint32", "pack2x16float", T.Shuffle([low, high], [0, 1]))


def _unpack(word: Expr) -> Expr:
    return call("float32x2", "unpack2x16float", word, pure=False)


def page_of(table: Buffer, token: Expr) -> Expr:
    """The physical page of a token, by its position."""
    return table[T.shift_right(token, PAGE_SIZE.bit_length() - 1)]


def slot_of(token: Expr) -> Expr:
    """A token's place in its page."""
    return T.bitwise_and(token, PAGE_SIZE - 1)


def rope_tables(
    inverse_frequencies: npt.NDArray[np.float64], context: int, scale: npt.NDArray[np.float64] | float = 1.0
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Tables ``coarse`` [ceil(context/64), head_dim] and ``fine`` [64, head_dim]: cosines, then sines.

    ``scale``, of each pair, multiplies the result (YaRN's and longrope's attention factor). Computed in float64.
    """
    rows = -(-context // ROPE_FINE)
    coarse = np.arange(rows)[:, None] * ROPE_FINE * inverse_frequencies[None, :]
    fine = np.arange(ROPE_FINE)[:, None] * inverse_frequencies[None, :]
    return (
        np.concatenate([np.cos(coarse), np.sin(coarse)], 1).astype(np.float32),
        np.concatenate([scale * np.cos(fine), scale * np.sin(fine)], 1).astype(np.float32),
    )


def rope_shapes(head_dim: int, context: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The shapes of ``rope_tables``."""
    return (-(-context // ROPE_FINE), head_dim), (ROPE_FINE, head_dim)


@dataclass(frozen=True)
class NewTokens:
    """What takes new tokens in: qkv ``[n, (H + 2 J) * P]``, or queries alone, RoPE's tables, or ``angles``
    ``[n, P]`` in their place, state, page table, kv.
    """

    qkv: Buffer
    coarse: Buffer
    fine: Buffer
    state: Buffer
    table: Buffer
    kv: KVCache
    angles: Buffer | None = None

    @classmethod
    def bind(
        cls,
        k: KernelBuilder,
        layout: HeadLayout,
        context: int,
        rows: Index = 1,
        *,
        fours: bool = False,
        written: bool = True,
        angles: bool = False,
    ) -> NewTokens:
        """Declare them as the kernel's next arguments, for ``rows`` tokens; ``fours`` and ``written`` as in
        ``KVCache``. ``angles``: there are angles in place of tables.
        """
        coarse_shape, fine_shape = rope_shapes(layout.head_dim, context)
        qkv = k.buffer("qkv", (rows, layout.qkv_width), "float32")
        if angles:
            coarse = fine = k.buffer("angles", (rows, layout.head_dim), "float32")
        else:
            coarse = k.buffer("rope_coarse", coarse_shape, "float32")
            fine = k.buffer("rope_fine", fine_shape, "float32")
        return cls(
            qkv,
            coarse,
            fine,
            k.buffer("state", (State.WORDS,), "int32"),
            k.buffer("page_table", (layout.pages,), "int32"),
            KVCache(k, layout, fours=fours, written=written),
            coarse if angles else None,
        )

    def turned(self, k: KernelBuilder, position: Expr) -> Expr:
        """RoPE's position of decode's token, whose pictures before it took fewer places than rows."""
        return k.let(position + self.state[State.SHIFT], "turned")

    def turn4(
        self, k: KernelBuilder, low: Expr, high: Expr, row: Index, position: Expr, pair: Expr, head_dim: int
    ) -> tuple[Expr, Expr]:
        """RoPE on four pairs of the token ``row``, which is at ``position``."""
        if self.angles is not None:
            return turn4(k, low, high, self.angles, row, pair, head_dim)
        return rotate4(k, low, high, self.coarse, self.fine, position, pair, head_dim)


def rotate4(
    k: KernelBuilder,
    low: Expr,
    high: Expr,
    coarse: Buffer,
    fine: Buffer,
    position: Expr,
    pair: Expr,
    head_dim: int,
) -> tuple[Expr, Expr]:
    """RoPE on four pairs: dimensions ``pair … pair+3`` (``low``) with those half a head further (``high``)."""
    half = head_dim // 2
    row, rest = T.shift_right(position, 6), T.bitwise_and(position, ROPE_FINE - 1)
    c1, s1 = k.let(load4(coarse, row, pair), "c1"), k.let(load4(coarse, row, half + pair), "s1")
    c2, s2 = k.let(load4(fine, rest, pair), "c2"), k.let(load4(fine, rest, half + pair), "s2")
    cosine, sine = k.let(c1 * c2 - s1 * s2, "cos4"), k.let(s1 * c2 + c1 * s2, "sin4")
    return k.let(low * cosine - high * sine, "first"), k.let(high * cosine + low * sine, "second")


def turn4(
    k: KernelBuilder, low: Expr, high: Expr, angles: Buffer, row: Index, pair: Expr, head_dim: int
) -> tuple[Expr, Expr]:
    """As ``rotate4``, by the angles of the token ``row``."""
    cosine = k.let(load4(angles, row, pair), "cos4")
    sine = k.let(load4(angles, row, head_dim // 2 + pair), "sin4")
    return k.let(low * cosine - high * sine, "first"), k.let(high * cosine + low * sine, "second")
