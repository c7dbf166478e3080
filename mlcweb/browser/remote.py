"""Opens a page in a browser that runs elsewhere: behind Playwright's server, or the DevTools protocol."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from mlcweb.browser.driver import driver
from mlcweb.browser.interrupts import Interrupts
from mlcweb.browser.page import Page, first_line
from mlcweb.errors import BrowserError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

_SECONDS = 30
_SCHEMES = {"ws": "http", "wss": "https", "http": "http", "https": "https"}
_HINT = (
    "Start Chrome there with --remote-debugging-port, or `playwright launch-server`; docs/ci.md shows how. "
    "http:// means the DevTools protocol."
)


@dataclass(frozen=True)
class RemoteBrowser:
    """Where the browser is, as ``--browser-url`` says, and the address of this machine that it can reach.

    Playwright's server reaches this machine's loopback through its connection; other browsers need ``serve_host``
    where they run on another machine.
    """

    address: str
    serve_host: str = "127.0.0.1"

    @property
    def shown(self) -> str:
        """The address without what may be secret in it: a user, a password, a query."""
        parts = urlsplit(self.address)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


@contextmanager
def open_remote_page(browser: RemoteBrowser) -> Iterator[Page]:
    """A page in a profile of its own, which is gone afterwards; the browser stays."""
    interrupts = Interrupts()
    with contextlib.ExitStack() as stack:
        stack.enter_context(interrupts)
        connected = _connect(stack.enter_context(driver()), browser)
        stack.callback(_close, connected)
        from playwright.sync_api import Error

        try:
            context = connected.new_context()
            page = Page(context, interrupts, remote=browser.shown)
        except Error as error:
            raise BrowserError(
                f"the browser at {browser.shown} opens no page: {_said(error, browser)}"
            ) from error
        interrupts.check()
        yield page


def _connect(playwright: Playwright, browser: RemoteBrowser) -> Browser:
    from playwright.sync_api import Error

    timeout = _SECONDS * 1000
    cdp = speaks_cdp(browser)
    try:
        if cdp:
            return playwright.chromium.connect_over_cdp(browser.address, timeout=timeout)
        return playwright.chromium.connect(browser.address, timeout=timeout, expose_network="<loopback>")
    except Error as error:
        spoken = "the DevTools protocol" if cdp else "Playwright's protocol"
        raise BrowserError(
            f"{browser.shown} gives no browser by {spoken}: {_said(error, browser)}", hint=_HINT
        ) from error


def speaks_cdp(browser: RemoteBrowser) -> bool:
    """Whether it speaks the DevTools protocol, by the address where that says so, else by asking for /json/version,
    which Chrome and Browserless answer. Raises BrowserError where nobody answers.
    """
    parts = urlsplit(browser.address)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise BrowserError(f"{browser.shown!r} is no ws:// or http:// address of a browser", hint=_HINT)
    if parts.scheme.startswith("http"):
        return True
    names = parts.path.split("/")
    if "devtools" in names or "cdp" in names:  # Chrome's own, and Selenium Grid's
        return True
    if "playwright" in names:  # Browserless's for Playwright's protocol
        return False
    asked = parts._replace(
        scheme=_SCHEMES[parts.scheme], netloc=parts.netloc.rpartition("@")[2], path="/json/version"
    )
    try:
        with urlopen(Request(asked.geturl()), timeout=_SECONDS) as answer:
            said = json.loads(answer.read(1 << 16))
    except HTTPError:
        return False  # Playwright's server before 1.50, or a proxy that passes only the path
    except ValueError:
        return False  # Playwright's server says "Running"
    except OSError as error:
        raise BrowserError(
            f"no browser answers at {browser.shown}: {getattr(error, 'reason', None) or error}", hint=_HINT
        ) from error
    return isinstance(said, dict) and "webSocketDebuggerUrl" in said


def _said(error: Exception, browser: RemoteBrowser) -> str:
    line = first_line(error).replace(browser.address, browser.shown)
    return line.partition(": ")[2] if line.startswith(("BrowserType.", "Browser.")) else line


def _close(browser: Browser) -> None:
    from playwright.sync_api import Error

    with contextlib.suppress(Error):  # it is gone already: nothing is left to close
        browser.close()
