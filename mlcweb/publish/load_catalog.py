"""Loads a catalog from a URL, a file, a folder, or a target of ``mlcweb publish``."""

from __future__ import annotations

from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from mlcweb import __version__
from mlcweb.contract.catalog import Catalog
from mlcweb.contract.constants import CATALOG_NAME, MAX_CATALOG_BYTES
from mlcweb.errors import PublishError
from mlcweb.publish.address import read_address
from mlcweb.publish.catalog_check import read_catalog
from mlcweb.publish.run import open_target

_SECONDS = 30
_HINT = f"Give a {CATALOG_NAME}, or the folder or address that `mlcweb publish` published to."


def load_catalog(where: str) -> Catalog:
    """Raises PublishError where there is none, BundleError for one that is not valid."""
    if where.startswith(("http://", "https://")):
        parts = urlsplit(where)
        if not parts.path.endswith(".json"):
            where = parts._replace(path=f"{parts.path.rstrip('/')}/{CATALOG_NAME}").geturl()
        text = _fetched(where)
    elif Path(where).is_file():
        with open(where, "rb") as file:
            text = file.read(MAX_CATALOG_BYTES + 1)
    else:
        address = read_address(where)
        found = open_target(address).read(address.key(CATALOG_NAME), MAX_CATALOG_BYTES)
        if found is None:
            raise PublishError(f"there is no {CATALOG_NAME} at {where}", hint=_HINT)
        text = found.data
    if len(text) > MAX_CATALOG_BYTES:
        raise PublishError(
            f"{where} has more than {MAX_CATALOG_BYTES} bytes, which no catalog has", hint=_HINT
        )
    return read_catalog(text, where)


def _fetched(url: str) -> bytes:
    headers = {"User-Agent": f"mlcweb/{__version__}", "Cache-Control": "no-cache"}
    try:
        with urlopen(Request(url, headers=headers), timeout=_SECONDS) as answer:
            data: bytes = answer.read(MAX_CATALOG_BYTES + 1)
            return data
    except HTTPError as error:
        raise PublishError(f"{url}: HTTP status {error.code}", hint=_HINT) from error
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise PublishError(f"{url} cannot be read: {str(reason)[:200]}", hint=_HINT) from error
