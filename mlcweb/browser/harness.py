"""Opens the engine's harness in a page without a server: playwright answers for its files, wherever the browser runs.

The page's origin is http://localhost, where browsers have WebGPU, and every bundle is on another one.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mlcweb.browser.page import Page
from mlcweb.serve.files import find_file
from mlcweb.serve.server import engine_folder

if TYPE_CHECKING:
    from playwright.sync_api import Route

ORIGIN = "http://localhost"
READY = "() => Boolean(window.mlcweb)"
_FOLDER = "/mlcweb-harness/"


def open_harness(page: Page, engine: Path | None = None) -> None:
    """Raises BrowserError for a page that does not start."""
    folder = engine or engine_folder()
    pattern = f"{ORIGIN}{_FOLDER}**"
    _allow_local_network(page)
    page.context.route(pattern, lambda route: _answer(route, folder))
    page.open(f"{ORIGIN}{_FOLDER}harness.html", ready=READY)
    # While playwright answers, it also answers preflights and turns the HTTP cache off: a host must do that itself.
    page.context.unroute(pattern)


def _answer(route: Route, folder: Path) -> None:
    path = urlsplit(route.request.url).path.removeprefix(_FOLDER)
    served = find_file(f"/{path}", folder, None)
    if served is None:
        route.fulfill(status=404, body="not found")
    else:
        route.fulfill(status=200, content_type=served.content_type, body=served.path.read_bytes())


def _allow_local_network(page: Page) -> None:
    """A page that came from no address may else ask for none of this machine or its network."""
    from playwright.sync_api import Error

    with contextlib.suppress(Error):  # a browser from before there was such a permission
        page.context.grant_permissions(["local-network-access"], origin=ORIGIN)
