"""How far a model's predictions are from another's, and from the text."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mlcweb.errors import ValidationError

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """``perplexity`` is exp of the mean negative log-likelihood of the text's tokens.

    Against another model, at each of the same positions: the mean and the 99th percentile of KL(other || model) in
    nats, and at how many the most likely token is the same (of equal logits the first). Without one they are None.
    """

    tokens: int
    perplexity: float
    kl_mean: float | None = None
    kl_p99: float | None = None
    same_tokens: int | None = None

    @property
    def same(self) -> float | None:
        """The share of positions with the same most likely token."""
        return None if self.same_tokens is None else self.same_tokens / self.tokens


@dataclass
class Tally:
    """Adds up what ``Scores`` are made of."""

    losses: list[F64] = field(default_factory=list)
    divergences: list[F64] = field(default_factory=list)
    same_tokens: int = 0

    def scores(self) -> Scores:
        """Of all positions so far. Raises ValueError when there are none."""
        if not self.losses:
            raise ValueError("no position was scored")
        losses = np.concatenate(self.losses)
        with np.errstate(over="ignore"):  # a model may be so wrong that it is infinite
            perplexity = float(np.exp(losses.mean()))
        if not self.divergences:
            return Scores(len(losses), perplexity)
        kl = np.concatenate(self.divergences)
        return Scores(
            len(losses), perplexity, float(kl.mean()), float(np.percentile(kl, 99)), self.same_tokens
        )


class Scorer:
    """Log-probabilities in float64, a position at a time, on all cores."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="score")

    def losses(self, logits: F32, targets: npt.NDArray[np.int64]) -> F64:
        """-log p of each position's target, [T]; logits are [T, V], targets [T]. Raises ValidationError for NaN."""

        def one(row: int) -> float:
            shifted, total = _shifted(logits[row])
            return float(np.log(total) - shifted[targets[row]])

        return np.array(list(self._pool.map(one, range(len(logits)))), np.float64)

    def divergences(self, other: F32, logits: F32) -> F64:
        """KL(other || model) of each position, [T], in nats. Raises ValidationError for NaN."""

        def one(row: int) -> float:
            theirs, their_total = _shifted(other[row])
            ours, total = _shifted(logits[row])
            weights = np.exp(theirs)
            weights /= their_total
            kl = weights @ (theirs - ours) + np.log(total) - np.log(their_total)
            return max(0.0, float(kl))

        return np.array(list(self._pool.map(one, range(len(logits)))), np.float64)


def _shifted(logits: F32) -> tuple[F64, np.float64]:
    """Logits below 0, and the sum of their exponentials."""
    shifted = logits.astype(np.float64)
    most = shifted.max()
    if not np.isfinite(most) or not np.isfinite(shifted.min()):
        raise ValidationError(
            "the model's logits are not finite",
            hint="Its weights are damaged, or overflow float16: try a float32 quantization.",
        )
    shifted -= most
    return shifted, np.exp(shifted).sum()
