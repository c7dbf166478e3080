"""The playwright driver, one in a thread: its synchronous API refuses a second one beside the first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

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

    with sync_playwright() as playwright:
        _here.playwright = playwright
        try:
            yield playwright
        finally:
            _here.playwright = None
