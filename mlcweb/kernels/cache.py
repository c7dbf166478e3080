"""The paged KV cache's layout, and RoPE's tables.

A page holds ``page_size`` tokens of one layer: ``kv[page, 0]`` keys and ``kv[page, 1]`` values, per KV head.
Keys are ``[head_dim/4, page_size, 4]``, so that threads on neighbouring tokens load neighbouring 16 bytes;
values are ``[page_size, head_dim]``, so that threads on neighbouring dimensions do.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm.tirx.script import builder as T

from mlcweb.kernels.builder import KernelBuilder, load4

PAGE_SIZE = 16
# A position is coarse * ROPE_FINE + fine; its angle's cosine and sine follow from the two parts' by the addition
# theorem, so the tables stay small and exact, and no shader computes the cosine of a large angle.
ROPE_FINE = 64


@dataclass(frozen=True)
class HeadLayout:
    """Attention's shape: query heads, KV heads, head size, and the KV cache's pages."""

    heads: int
    kv_heads: int
    head_dim: int
    pages: int

    @property
    def group(self) -> int:
        """Query heads that share a KV head."""
        return self.heads // self.kv_heads

    @property
    def page_shape(self) -> tuple[int, int, int, int]:
        """A layer's cache: [pages, keys and values, KV heads, elements]."""
        return (self.pages, 2, self.kv_heads, PAGE_SIZE * self.head_dim)


def key_index(layout: HeadLayout, slot: Any, quad: Any) -> Any:
    """Where dimensions ``4*quad … 4*quad+3`` of the page's token ``slot`` are in the key block."""
    return (quad * PAGE_SIZE + slot) * 4


def value_index(layout: HeadLayout, slot: Any, dim: Any) -> Any:
    """Where dimension ``dim`` of the page's token ``slot`` is in the value block."""
    return slot * layout.head_dim + dim


def page_of(table: Any, token: Any) -> Any:
    """The physical page of a token, by its position."""
    return table[T.shift_right(token, 4)]


def slot_of(token: Any) -> Any:
    """A token's place in its page."""
    return T.bitwise_and(token, PAGE_SIZE - 1)


def rope_tables(
    inverse_frequencies: npt.NDArray[np.float64], context: int, scale: float = 1.0
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Tables ``coarse`` [ceil(context/64), head_dim] and ``fine`` [64, head_dim]: cosines, then sines.

    ``scale`` multiplies the result (YaRN's and longrope's attention factor). Computed in float64.
    """
    rows = -(-context // ROPE_FINE)
    coarse = np.arange(rows)[:, None] * ROPE_FINE * inverse_frequencies[None, :]
    fine = np.arange(ROPE_FINE)[:, None] * inverse_frequencies[None, :]
    return (
        np.concatenate([np.cos(coarse), np.sin(coarse)], 1).astype(np.float32),
        (scale * np.concatenate([np.cos(fine), np.sin(fine)], 1)).astype(np.float32),
    )


def rope_shapes(head_dim: int, context: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The shapes of ``rope_tables``."""
    return (-(-context // ROPE_FINE), head_dim), (ROPE_FINE, head_dim)


def rotate4(
    k: KernelBuilder, low: Any, high: Any, coarse: Any, fine: Any, position: Any, pair: Any, head_dim: int
) -> tuple[Any, Any]:
    """RoPE on four pairs: dimensions ``pair … pair+3`` (``low``) with those half a head further (``high``)."""
    half = head_dim // 2
    row, rest = T.shift_right(position, 6), T.bitwise_and(position, ROPE_FINE - 1)
    c1, s1 = k.let(load4(coarse, row, pair), "c1"), k.let(load4(coarse, row, half + pair), "s1")
    c2, s2 = k.let(load4(fine, rest, pair), "c2"), k.let(load4(fine, rest, half + pair), "s2")
    cosine, sine = k.let(c1 * c2 - s1 * s2, "cos4"), k.let(s1 * c2 + c1 * s2, "sin4")
    return k.let(low * cosine - high * sine, "first"), k.let(high * cosine + low * sine, "second")
