"""A page in WebKitGTK, which is Safari's engine on Linux: Debian's ``webkit2gtk-driver``, on a display of Xvfb.

It is spoken to by WebDriver (https://www.w3.org/TR/webdriver2/), which playwright does not speak.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.browser.model_page import Site

DRIVER, DISPLAY = "WebKitWebDriver", "Xvfb"
TIMEOUT_MS = 600_000
_RUN = """const done = arguments[1];
Promise.resolve((%s)(arguments[0])).then(value => done({value}), error => done({error: String(error)}));"""


def has_webkit() -> bool:
    """Whether both programs are installed."""
    return all(map(shutil.which, (DRIVER, DISPLAY)))


class WebKitPage:
    """What ``ModelPage`` needs of a playwright page."""

    def __init__(self, session: str) -> None:
        self._session = session

    def evaluate(self, script: str, argument: Any = None) -> Any:
        """What the function that ``script`` is returns for ``argument``, or its promise's value."""
        answer = _send(
            "POST", f"{self._session}/execute/async", {"script": _RUN % script, "args": [argument]}
        )
        assert "error" not in answer, answer["error"]
        return answer.get("value")

    def open(self, url: str, ready: str) -> None:
        """Load a page, and wait until ``ready``, an expression, is true."""
        _send("POST", f"{self._session}/url", {"url": url})
        end = time.monotonic() + TIMEOUT_MS / 1000
        while not self.evaluate(f"() => Boolean({ready})"):
            assert time.monotonic() < end, f"{url} is not ready"
            time.sleep(0.2)

    def screenshot(self) -> str:
        """The page as a PNG, in base64."""
        return str(_send("GET", f"{self._session}/screenshot"))


@contextmanager
def open_webkit(site: Site) -> Iterator[WebKitPage]:
    """The harness in a WebKitGTK of its own."""
    read, write = os.pipe()
    display = subprocess.Popen(
        [DISPLAY, "-displayfd", str(write), "-screen", "0", "1000x800x24", "-nolisten", "tcp"],
        pass_fds=(write,),
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as numbers:
        number = numbers.readline().strip()
    port = _free_port()
    # as root its sandbox cannot be set up
    environment = {**os.environ, "DISPLAY": f":{number}", "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1"}
    driver = subprocess.Popen(
        [DRIVER, f"--port={port}"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        made = _when_there(f"http://127.0.0.1:{port}/session")
        session = f"http://127.0.0.1:{port}/session/{made['sessionId']}"
        page = WebKitPage(session)
        try:
            page.open(f"{site.url}harness.html", "window.mlcweb")
            yield page
        finally:
            _send("DELETE", session)
    finally:
        for process in (driver, display):
            process.terminate()
            process.wait()


def _when_there(url: str) -> Any:
    capabilities = {"alwaysMatch": {"timeouts": {"script": TIMEOUT_MS, "pageLoad": TIMEOUT_MS}}}
    for _ in range(100):
        try:
            return _send("POST", url, {"capabilities": capabilities})
        except urllib.error.URLError:
            time.sleep(0.2)
    raise AssertionError(f"{DRIVER} does not answer")


def _send(method: str, url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_MS / 1000 + 60) as response:
            return json.load(response)["value"]
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{url}: {error.read().decode()}") from error


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
