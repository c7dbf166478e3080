"""Replays bundles' expected answers in a real browser, from a folder or over the network, and says how far they are
from the host reference.
"""

from mlcweb.validate.report import BundleReport, Check
from mlcweb.validate.run import ValidateRequest, validate_bundle
from mlcweb.validate.sources import expand
from mlcweb.validate.tier import TierReport

__all__ = [
    "BundleReport",
    "Check",
    "TierReport",
    "ValidateRequest",
    "expand",
    "validate_bundle",
]
