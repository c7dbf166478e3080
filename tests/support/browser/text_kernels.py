"""Texts side by side, and in numpy what kernels make of them."""

from __future__ import annotations

import numpy as np

from mlcweb.contract.constants import Place
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.choice.tier import BASE
from mlcweb.kernels.layouts.kv_cache import HeadLayout, rope_tables
from mlcweb.kernels.layouts.storage import Values

LENGTHS = ([1], [5, 1, 90, 3], [64, 64, 64], [31, 33, 200, 7, 1, 1, 2])


def places_of(lengths: list[int]) -> np.ndarray:
    """``places`` of texts of these lengths, of which every second is of the other type."""
    rows, begin = [], 0
    for i, length in enumerate(lengths):
        for position in range(length):
            row = [0] * Place.WORDS
            row[Place.BEGIN], row[Place.END] = begin, begin + length
            row[Place.POSITION], row[Place.KIND] = position, i % 2
            rows.append(row)
        begin += length
    return np.array(rows, np.int32)


def attention(qkv: np.ndarray, layout: HeadLayout, scoring: Scoring, lengths: list[int]) -> np.ndarray:
    """In float64, a text and a head at a time, by which tokens see which."""
    heads, kv_heads, dim = layout.heads, layout.kv_heads, layout.head_dim
    rows = qkv.astype(np.float64).reshape(len(qkv), -1, dim)
    out, begin = np.zeros((len(qkv), heads, dim)), 0
    for length in lengths:
        text = rows[begin : begin + length]
        at = np.arange(length)
        sees = np.ones((length, length), bool) if scoring.ahead else at[None] <= at[:, None]
        if scoring.window is not None:
            sees &= np.abs(at[None] - at[:, None]) < scoring.window
        for head in range(heads):
            kv = head * kv_heads // heads
            scores = text[:, head] @ text[:, heads + kv].T * scoring.scale
            if scoring.cap is not None:
                scores = scoring.cap * np.tanh(scores / scoring.cap)
            weights = np.where(sees, np.exp(scores - scores.max()), 0)
            values = text[:, heads + kv_heads + kv]
            out[begin : begin + length, head] = weights / weights.sum(1, keepdims=True) @ values
        begin += length
    return out.reshape(len(qkv), -1)


# Heads, those of keys and values, their width, and how they score.
ATTENTION = [
    (12, 12, 32, Scoring(0.2, ahead=True)),
    (4, 2, 64, Scoring(0.125)),
    (3, 1, 256, Scoring(0.0625, window=17, ahead=True)),
    (2, 2, 80, Scoring(0.1, window=9)),
    (2, 2, 72, Scoring(0.1, ahead=True)),
    (6, 3, 48, Scoring(0.3, cap=5.0, window=65, ahead=True)),
]


class Turning:
    """``qkv`` of texts, RoPE's tables, and what turning makes of it, ``turned``."""

    def __init__(self, heads: int, kv_heads: int, d: int) -> None:
        lengths, self.context, self.layout = [3, 100, 1, 40], 128, HeadLayout(heads, kv_heads, d, 4)
        n, rng = sum(lengths), np.random.default_rng(d)
        self.places = places_of(lengths)
        self.qkv = rng.standard_normal((n, (heads + 2 * kv_heads) * d), np.float32)
        frequencies = 100.0 ** (-np.arange(d // 2) / (d // 2))
        self.tables = rope_tables(frequencies, self.context)
        angles = self.places[:, Place.POSITION, None] * frequencies
        turned = self.qkv.astype(np.float64).reshape(n, -1, d)
        low, high = np.split(turned[:, : heads + kv_heads], 2, axis=2)
        cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
        turned[:, : heads + kv_heads] = np.concatenate([low * cos - high * sin, high * cos + low * sin], 2)
        self.turned = turned.reshape(n, -1)


def pooled(x: np.ndarray, lengths: list[int], pooling: str) -> list[np.ndarray]:
    """A row of each text, in float64."""
    made = {"mean": lambda t: t.mean(0), "cls": lambda t: t[0], "last": lambda t: t[-1]}[pooling]
    begins = np.cumsum([0, *lengths[:-1]])
    return [made(x[i : i + length].astype(np.float64)) for i, length in zip(begins, lengths, strict=True)]


class LookedUp:
    """Tokens of texts, tables of words, positions and types, and the sum of their rows, ``expected``."""

    def __init__(self) -> None:
        rng, width = np.random.default_rng(2), 72
        self.ids = rng.integers(0, 50, 15).astype(np.int32)
        self.tables = [rng.standard_normal((rows, width), np.float32) for rows in (50, 12, 2)]
        self.places = places_of([5, 1, 9])
        words, positions, kinds = self.tables
        at, kind = self.places[:, Place.POSITION], self.places[:, Place.KIND]
        self.expected = words[self.ids] + positions[at] + kinds[kind]
        self.out = np.zeros((15, width), np.float32)

    def stored(self) -> list[Values]:
        """The tables as a kernel is told of them."""
        return [Values(table.shape, "float32", BASE) for table in self.tables]

    def arguments(self) -> list[np.ndarray]:
        """The kernel's."""
        words, *more = self.tables
        return [self.ids, words, self.places, *more, self.out]
