"""Compares embeddings by the cosine of their angle, which a search with them depends on."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt


def cosine(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Of two vectors; 0 where one has no length."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    lengths = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / lengths if lengths else 0.0


def least_cosine(ours: Iterable[npt.ArrayLike], theirs: Iterable[npt.ArrayLike]) -> float:
    """The least of pairs of vectors."""
    return min(cosine(a, b) for a, b in zip(ours, theirs, strict=True))
