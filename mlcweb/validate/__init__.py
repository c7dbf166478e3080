"""Replays a bundle's expected answer in a real browser, and says how far it is from the host reference."""

from mlcweb.validate.report import TierReport
from mlcweb.validate.run import require_pass, validate_bundle

__all__ = ["TierReport", "require_pass", "validate_bundle"]
