"""Reports what was checked of a bundle: its files, and each tier."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from mlcweb.errors import MlcwebError, ValidationError
from mlcweb.validate.tier import TierReport

Result = Literal["pass", "fail", "skip"]


@dataclass(frozen=True)
class Check:
    """One thing that was checked: ``files``, ``browser``, or ``tier base``.

    ``error`` is why it failed; ``said`` what was found, or why it was skipped. ``seconds`` is what it took.
    """

    name: str
    result: Result
    said: str = ""
    error: MlcwebError | None = None
    seconds: float = 0.0
    tier: TierReport | None = None

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        error = self.error
        failure = {"code": error.code, "message": error.message, "hint": error.hint} if error else None
        return {
            "name": self.name,
            "result": self.result,
            "said": self.said,
            "error": failure,
            "seconds": round(self.seconds, 3),
        }


@dataclass
class BundleReport:
    """What was checked of the bundle at a path, or at a URL without its query, in order.

    ``model``, ``browser`` and ``adapter`` are empty where it was not got that far.
    """

    bundle: str
    model: str = ""
    browser: str = ""
    adapter: str = ""
    checks: list[Check] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Nothing failed, and a tier passed."""
        return self.failure is None and any(check.tier for check in self.checks)

    @property
    def failure(self) -> Check | None:
        """The first check that failed."""
        return next((check for check in self.checks if check.result == "fail"), None)

    @property
    def tiers(self) -> list[TierReport]:
        """Of the tiers that answered, right or wrong."""
        return [check.tier for check in self.checks if check.tier]

    def require_pass(self) -> None:
        """Raise the error of the first check that failed, or ValidationError where nothing was checked."""
        failed = self.failure
        if failed is not None and failed.error is not None:
            raise failed.error
        if not self.passed:
            raise ValidationError(f"{self.bundle}: no tier was checked")

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "bundle": self.bundle,
            "model": self.model,
            "passed": self.passed,
            "browser": self.browser,
            "adapter": self.adapter,
            "seconds": round(self.seconds, 3),
            "checks": [check.facts() for check in self.checks],
            "tiers": [tier.facts() for tier in self.tiers],
        }
