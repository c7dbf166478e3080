"""Tells URLs of published bundles from folders, and expands a catalog's URL into those of its bundles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from mlcweb.contract.constants import CATALOG_NAME

Source = Path | str  # a folder, or a URL
_SCHEMES = ("http", "https")


def is_url(value: str) -> bool:
    """Whether it is meant as a web address."""
    return "://" in value and urlsplit(value).scheme.lower() in _SCHEMES


def shown(source: Source) -> str:
    """A source's name in reports: a URL's query may be a token or a signature."""
    if isinstance(source, Path):
        return str(source)
    parts = urlsplit(source)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def expand(sources: Iterable[Source]) -> Iterator[Source]:
    """Each source; in place of the URL of a catalog.json, those of its bundles. Raises PublishError or BundleError for
    a catalog that cannot be read.
    """
    for source in sources:
        if isinstance(source, Path) or urlsplit(source).path.rpartition("/")[2] != CATALOG_NAME:
            yield source
            continue
        from mlcweb.publish.load_catalog import load_catalog

        query = urlsplit(source).query
        for model in load_catalog(source)["models"]:
            yield urlsplit(urljoin(source, model["url"]))._replace(query=query).geturl()
