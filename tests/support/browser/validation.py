"""What a validation that the engine replayed has to say."""

from __future__ import annotations

from typing import Any


def check_validation(report: dict[str, Any], tier: str) -> None:
    assert report["tier"] == tier
    assert report["greedy_mismatch_at"] == -1, report
    assert report["max_relative_difference"] is not None
    assert 0 < report["max_relative_difference"] <= report["tolerance"]
    assert len(report["expected"]) == len(report["steps"]) > 0
