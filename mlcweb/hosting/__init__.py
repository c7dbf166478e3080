"""Looks at a host as a page on another origin meets it: what a load would stumble over, and which header mends it."""

from mlcweb.hosting.check import check_host
from mlcweb.hosting.findings import Finding

__all__ = ["Finding", "check_host"]
