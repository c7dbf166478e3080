"""Publishes bundles to folders, object stores and the Hugging Face hub, and keeps their catalog."""

from mlcweb.publish.catalog_check import read_catalog
from mlcweb.publish.request import GRACE, VERIFY, PublishedBundle, PublishRequest, PublishResult
from mlcweb.publish.run import open_target, publish

__all__ = [
    "GRACE",
    "VERIFY",
    "PublishRequest",
    "PublishResult",
    "PublishedBundle",
    "open_target",
    "publish",
    "read_catalog",
]
