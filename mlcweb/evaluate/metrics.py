"""Measures how far a model's predictions are from another's, and from the text."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mlcweb.cores import cores
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


@dataclass(frozen=True)
class Positions:
    """Of each position: -log p of the token that comes, and against another model the divergence in nats, and whether
    the most likely token is the same."""

    losses: F64
    divergences: F64 | None = None
    same: npt.NDArray[np.bool_] | None = None


@dataclass
class Tally:
    """Adds up what ``Scores`` are made of."""

    losses: list[F64] = field(default_factory=list)
    divergences: list[F64] = field(default_factory=list)
    same_tokens: int = 0

    def add(self, positions: Positions) -> None:
        """More positions."""
        self.losses.append(positions.losses)
        if positions.divergences is not None and positions.same is not None:
            self.divergences.append(positions.divergences)
            self.same_tokens += int(positions.same.sum())

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
        self._pool = ThreadPoolExecutor(cores(), thread_name_prefix="score")

    def score(self, logits: F32, targets: npt.NDArray[np.int64], other: F32 | None = None) -> Positions:
        """Logits are [T, V], targets [T], ``other`` are another model's logits. Raises ValidationError for NaN."""

        def one(row: int) -> tuple[float, float, bool]:
            ours, powers = _shifted(logits[row])
            log_sum = np.log(powers.sum())
            loss = float(log_sum - ours[targets[row]])
            if other is None:
                return loss, 0.0, True
            theirs, powers = _shifted(other[row])
            total = powers.sum()
            divergence = powers @ (theirs - ours) / total + log_sum - np.log(total)
            return loss, max(0.0, float(divergence)), bool(theirs.argmax() == ours.argmax())

        results = list(self._pool.map(one, range(len(logits))))
        losses, divergences, same = (np.array(column) for column in zip(*results, strict=True))
        return Positions(losses) if other is None else Positions(losses, divergences, same)


def _shifted(logits: F32) -> tuple[F64, F64]:
    """Logits below 0, and their exponentials."""
    shifted = logits.astype(np.float64)
    largest = shifted.max()
    if not np.isfinite(largest) or not np.isfinite(shifted.min()):
        raise ValidationError(
            "the model's logits are not finite",
            hint="Its weights are damaged, or overflow float16: try a float32 quantization.",
        )
    shifted -= largest
    return shifted, np.exp(shifted)
