"""Starts the playwright driver, one in a thread: its synchronous API refuses a second one beside the first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlcweb.errors import BrowserError

if TYPE_CHECKING:
    from playwright.sync_api import Playwright

_here = threading.local()


@contextmanager
def driver() -> Iterator[Playwright]:
    """Start the driver, or share the one that an enclosing block of this thread started."""
    running: Playwright | None = getattr(_here, "playwright", None)
    if running is not None:
        yield running
        return
    from playwright.sync_api import sync_playwright

    manager = sync_playwright()
    try:
        playwright = manager.start()
    except Exception as error:  # playwright has no narrower one: its Node.js process said no word
        raise BrowserError(f"playwright did not start: {error}", hint=_hint()) from error
    _here.playwright = playwright
    try:
        yield playwright
    finally:
        _here.playwright = None
        playwright.stop()


def _hint() -> str:
    said = "set PLAYWRIGHT_NODEJS_PATH to a Node.js that runs"
    return f"install what its Node.js needs (Debian: `apt-get install libatomic1`), or {said}"
