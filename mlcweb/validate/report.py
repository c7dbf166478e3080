"""What replaying a tier found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class TierReport:
    """A tier's expected and actual tokens, and the largest logit difference relative to its step's range."""

    tier: str
    adapter: str
    expected: list[int]
    tokens: list[int]
    largest_difference: float
    tolerance: float

    @property
    def matching(self) -> int:
        """How many tokens agree before the first that does not."""
        pairs = zip(self.expected, self.tokens, strict=False)
        return next(
            (i for i, (a, b) in enumerate(pairs) if a != b), min(len(self.expected), len(self.tokens))
        )

    @property
    def tokens_match(self) -> bool:
        return self.tokens == self.expected

    @property
    def passed(self) -> bool:
        """Tokens agree and logits are close; a difference that is not a number is never close."""
        return self.tokens_match and self.largest_difference <= self.tolerance

    def facts(self) -> dict[str, Any]:
        """For JSON; a difference that is not a number becomes null."""
        finite = self.largest_difference - self.largest_difference == 0
        return {
            **asdict(self),
            "largest_difference": self.largest_difference if finite else None,
            "tokens_match": self.tokens_match,
            "passed": self.passed,
        }

    @classmethod
    def from_engine(cls, found: Mapping[str, Any]) -> TierReport:
        """The harness's answer; JSON has no NaN, so null stands for it."""
        difference = found["largestDifference"]
        return cls(
            tier=str(found["tier"]),
            adapter=str(found.get("adapter", "")),
            expected=[int(t) for t in found["expected"]],
            tokens=[int(t) for t in found["tokens"]],
            largest_difference=float("nan") if difference is None else float(difference),
            tolerance=float(found["tolerance"]),
        )
