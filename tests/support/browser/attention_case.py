"""What attention's kernels are tested with: a context on shuffled pages, and the answer in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.choice.tier import F16_SUBGROUPS, SOFTWARE, SUBGROUPS, Tier
from mlcweb.kernels.layouts.kv_cache import PAGE_SIZE, HeadLayout, kv_storage, rope_tables
from mlcweb.kernels.layouts.storage import Values

CONTEXT = 1024


@dataclass(frozen=True)
class Variant:
    """A tier, the type of the KV cache's elements, and whether the browser is the one with shader-f16."""

    tier: Tier
    dtype: str
    f16_browser: bool = False

    def __str__(self) -> str:
        return "-".join([self.tier.name, self.dtype, *(["f16-browser"] if self.f16_browser else [])])

    @property
    def tolerance(self) -> float:
        """Of a cached value: the last bit of a float16 between 4 and 8."""
        return 4e-3 if self.dtype == "float16" else 1e-5


# GPU tiers with the same elements have the same attention, so one of them stands for all.
DEFAULT = [Variant(tier, tier.kv_dtype, tier.f16) for tier in (F16_SUBGROUPS, SUBGROUPS, SOFTWARE)]


def rotate(x: np.ndarray, positions: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Hugging Face's rotate_half on x [n, heads, D]."""
    angle = positions[:, None, None] * frequencies
    cosine, sine = np.cos(angle), np.sin(angle)
    low, high = np.split(x, 2, axis=-1)
    return np.concatenate([low * cosine - high * sine, high * cosine + low * sine], -1)


def attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    start: int,
    scoring: Scoring,
    sinks: np.ndarray | None = None,
    ends: np.ndarray | None = None,
) -> np.ndarray:
    n, heads, d = q.shape
    position, token = start + np.arange(n)[:, None], np.arange(len(k))[None]
    later = token > position if ends is None else token >= ends[:, None]
    unseen = later | (position - token >= (scoring.window or len(k)))
    out = np.zeros((n, heads, d))
    for h in range(heads):
        kv_head = h // (heads // k.shape[1])
        scores = q[:, h] @ k[:, kv_head].T * scoring.scale
        if scoring.growth is not None:
            scores *= 1 + scoring.growth.beta * np.log(1 + position // scoring.growth.length)
        if scoring.cap is not None:
            scores = scoring.cap * np.tanh(scores / scoring.cap)
        scores[unseen] = -np.inf
        if sinks is not None:
            scores = np.concatenate([scores, np.full((n, 1), sinks[h])], axis=1)
        weights = np.exp(scores - scores.max(1, keepdims=True))
        shares = weights / weights.sum(1, keepdims=True)
        out[:, h] = shares[:, : len(v)] @ v[:, kv_head]
    return out.reshape(n, heads * d)


class Case:
    """A context of ``start`` cached tokens and ``n`` new ones, on shuffled pages; ``scoring`` is usual by default.

    ``appends``: the new ones' keys and values are new too; else they are in the cache already. ``pictures``: from
    which to which new token there are some, whose tokens see one another.
    """

    def __init__(
        self,
        heads: int,
        kv_heads: int,
        d: int,
        start: int,
        n: int,
        variant: Variant,
        scoring: Scoring | None = None,
        *,
        appends: bool = True,
        sinks: bool = False,
        pictures: tuple[tuple[int, int], ...] = (),
    ) -> None:
        rng = np.random.default_rng(start * 1000 + n + d)
        storage = kv_storage(variant.dtype, variant.tier)
        self.layout = HeadLayout(heads, kv_heads, d, CONTEXT // PAGE_SIZE, storage, appends)
        frequencies = 1e4 ** (-np.arange(0, d, 2) / d)
        self.coarse, self.fine = rope_tables(frequencies, CONTEXT)
        self.table = rng.permutation(self.layout.pages).astype(np.int32)
        self.state = np.array([start, 0, 0, 0, 0, 0, 0, 0], np.int32)
        total = start + n
        self.keys = rotate(keys := rng.standard_normal((total, kv_heads, d)), np.arange(total), frequencies)
        self.values = rng.standard_normal((total, kv_heads, d))
        queries = rng.standard_normal((n, heads, d)) * 3
        rotated = rotate(queries, start + np.arange(n), frequencies)
        cached = [x.astype(variant.dtype).astype(np.float64) for x in (self.keys, self.values)]
        self.scoring = scoring or Scoring(d**-0.5)
        # below what the scores have, among them, and above them all
        self.sinks = np.linspace(-9, 12, heads, dtype=np.float32)[None] if sinks else None
        own = None if self.sinks is None else self.sinks[0]
        self.ends = None
        if pictures:
            self.ends = np.arange(start, total, dtype=np.int32) + 1
            for first, end in pictures:
                self.ends[first:end] = start + end
        self.expected = attention(rotated, *cached, start, self.scoring, own, self.ends)
        # whole pages that no new token sees: who reads them has NaN
        self.unseen = (
            0 if self.scoring.window is None else max(0, start - self.scoring.window + 1) // PAGE_SIZE
        )
        new = (queries, keys[start:], self.values[start:])[: 3 if appends else 1]
        self.qkv = np.concatenate([part.reshape(n, -1) for part in new], 1).astype(np.float32)
        self.dtype = variant.dtype
        self.before = self._cache(start if appends else total).view(storage)
        self.after = self._cache(total)

    def _cache(self, tokens: int) -> np.ndarray:
        """The elements; those of no token are 7, which nobody may read or overwrite."""
        d, four = self.layout.head_dim, 4 * self.layout.word
        kv = np.full((self.layout.pages, 2, self.layout.kv_heads, PAGE_SIZE * d), 7, self.dtype)
        for t in range(tokens):
            page, slot = self.table[t // PAGE_SIZE], t % PAGE_SIZE
            for h in range(self.layout.kv_heads):
                keys = kv[page, 0, h].reshape(d // four, PAGE_SIZE, four)
                keys[:, slot] = self.keys[t, h].reshape(d // four, four)
                kv[page, 1, h].reshape(PAGE_SIZE, d)[slot] = self.values[t, h]
        kv[self.table[: self.unseen]] = np.nan
        return kv

    def stored_sinks(self, tier: Tier) -> tuple[Values | None, list[np.ndarray]]:
        """The kernels' last argument before what they write, if there are any."""
        if self.sinks is None:
            return None, []
        return Values(self.sinks.shape, "float32", tier), [self.sinks]

    def inputs(self) -> list[np.ndarray]:
        return [self.qkv, self.coarse, self.fine, self.state, self.table, self.before]
