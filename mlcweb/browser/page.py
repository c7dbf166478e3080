"""Opens one page in a headless Chromium, driven by playwright with the browser that is already installed."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcweb.browser.driver import driver
from mlcweb.browser.find import find_chromium
from mlcweb.browser.interrupts import Interrupts
from mlcweb.debug import STAGE, logger
from mlcweb.errors import BrowserError

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, Playwright

FLAGS = (
    "--headless=new",
    "--enable-unsafe-webgpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)
EXTRA_FLAGS = "MLCWEB_CHROMIUM_FLAGS"
LOGGED = "mlcweb "  # begins what the engine logs (runtime-js/src/log.ts)
SLICE_MS = 100  # how often a running call looks up, for Ctrl-C and the time limit
IDLE_SECONDS = 900.0
_RECENT = 20  # lines of the console in which the reason of a failure is looked for
_FAULT = re.compile(r"blocked by CORS policy: (?P<cors>.*)|(?P<net>net::ERR_(?!FAILED)\w+)", re.DOTALL)
_log = logger("engine")

# What the page says is collected there and fetched in batches: waiting for us at each token would slow it.
START_CALL = """([method, args, listened]) => {
  const call = window.mlcwebCall = { heard: [], outcome: null, wake: null };
  for (const name of listened) window[name] = value => { call.heard.push([name, value]); call.wake?.(); };
  (async () => await window.mlcweb[method](...args))()
    .then(value => ({ value }), error => ({ failed: String(error?.stack ?? error) }))
    .then(outcome => { call.outcome = outcome; call.wake?.(); });
}"""
WAIT_FOR_CALL = """ms => new Promise(resolve => {
  const call = window.mlcwebCall;
  const answer = () => {
    clearTimeout(timer);
    call.wake = null;
    resolve({ heard: call.heard.splice(0), outcome: call.outcome });
  };
  const timer = setTimeout(answer, ms);
  if (call.heard.length || call.outcome) answer(); else call.wake = answer;
})"""


class Page:
    """A page, its console's errors, and calls into ``window.mlcweb`` that Ctrl-C and a time limit can end."""

    def __init__(self, context: BrowserContext, interrupts: Interrupts, *, remote: str = "") -> None:
        self.context = context
        self.interrupts = interrupts
        self._remote = remote
        self.raw = context.pages[0] if context.pages else context.new_page()
        self._listeners: dict[str, Callable[[Any], None]] = {}
        self._uncaught: list[str] = []
        self._logged: list[str] = []
        self._crashed = False
        self._heard = time.monotonic()
        self.raw.on("console", self._on_console)
        self.raw.on("pageerror", lambda error: self._uncaught.append(str(error).strip()))
        self.raw.on("crash", lambda _: self._on_crash())

    @property
    def version(self) -> str:
        """Such as ``Chrome/156.0.8078.79``."""
        session = self.context.new_cdp_session(self.raw)
        try:
            return str(session.send("Browser.getVersion")["product"]).replace("HeadlessChrome", "Chrome")
        finally:
            session.detach()

    @property
    def reason(self) -> str:
        """The page's last uncaught error, else the last one it logged."""
        return next(reversed(self._uncaught), "") or next(reversed(self._logged), "")

    @property
    def network_fault(self) -> str:
        """Why the browser's last request failed, which it tells on the console alone; empty where it does not."""
        for line in reversed(self._logged[-_RECENT:]):
            if found := _FAULT.search(line):
                return (found["cors"] or found["net"]).strip().rstrip(".")
        return ""

    def open(self, url: str, *, ready: str = "true", ready_seconds: float = 60) -> None:
        """Load ``url`` and wait until the expression ``ready`` holds."""
        with self._translated():
            response = self.raw.goto(url, wait_until="load", timeout=60_000)
            if response is not None and not response.ok:
                raise BrowserError(f"{url} answered {response.status} {response.status_text}")
            try:
                self.raw.wait_for_function(ready, timeout=ready_seconds * 1000)
            except Exception as error:
                said = self.reason or first_line(error)
                raise BrowserError(f"the engine's page did not start: {said}") from error
        self.interrupts.check()

    def listen(self, name: str, callback: Callable[[Any], None]) -> None:
        """During calls, what the page passes to ``window[name]`` reaches ``callback``."""
        self._listeners[name] = callback

    def call(
        self,
        method: str,
        *args: object,
        idle_seconds: float = IDLE_SECONDS,
        stop: Callable[[], None] | None = None,
    ) -> Any:
        """Await ``window.mlcweb[method](...args)``.

        Ctrl-C calls ``stop`` (and goes on waiting for the call to end), or raises where there is none.
        """
        self._heard = time.monotonic()
        with self._translated():
            self.raw.evaluate(START_CALL, [method, list(args), list(self._listeners)])
            outcome = None
            while outcome is None:
                if stop is None:
                    self.interrupts.check()
                elif self.interrupts.take():
                    stop()
                outcome = self._listen_for(idle_seconds)
        if "failed" in outcome:
            raise BrowserError(f"the page failed in {method}: {outcome['failed']}")
        return outcome["value"]

    def _listen_for(self, idle_seconds: float) -> Any:
        """Pass on what the page said meanwhile; the call's outcome, once it has one."""
        news = self.raw.evaluate(WAIT_FOR_CALL, SLICE_MS)
        for name, value in news["heard"]:
            self._heard = time.monotonic()
            self._listeners[name](value)
        if news["outcome"] is None and time.monotonic() - self._heard > idle_seconds:
            last = f"; its last error: {self.reason}" if self.reason else ""
            raise BrowserError(f"the page has said nothing for {idle_seconds:.0f} s{last}")
        return news["outcome"]

    def evaluate(self, expression: str, argument: object = None) -> Any:
        """A short expression's value."""
        with self._translated():
            return self.raw.evaluate(expression, argument)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        from playwright.sync_api import Error

        try:
            yield
        except Error as error:
            if self._crashed or "crashed" in str(error):
                raise BrowserError(
                    "the page crashed in Chromium",
                    hint="it may have run out of memory: try a smaller model or a shorter context",
                ) from error
            if "has been closed" in str(error) or "Connection closed" in str(error):
                if self._remote:
                    raise BrowserError(
                        f"the browser at {self._remote} is gone: it ended, or closed the connection",
                        hint="See what it says there, and run this again.",
                    ) from error
                raise BrowserError("Chromium closed unexpectedly", hint="run `mlcweb doctor`") from error
            raise BrowserError(f"the page failed: {self.reason or first_line(error)}") from error

    def _on_console(self, message: ConsoleMessage) -> None:
        self._heard = time.monotonic()
        if message.type == "debug" and message.text.startswith(LOGGED):
            _log.log(STAGE, "%s", message.text.removeprefix(LOGGED))
        if message.type == "error":
            self._logged.append(message.text.strip())

    def _on_crash(self) -> None:
        self._crashed = True


@contextmanager
def open_page(
    chromium: Path | None = None, *, hold_signals: bool = True, flags: Sequence[str] = ()
) -> Iterator[Page]:
    """A fresh profile in a fresh browser; both are gone afterwards, whatever happens.

    ``hold_signals`` keeps Ctrl-C from interrupting playwright halfway; ``flags`` are Chromium's, beside ours.
    """
    executable = find_chromium(chromium)
    profile = tempfile.TemporaryDirectory(prefix="mlcweb-profile-", ignore_cleanup_errors=True)
    interrupts = Interrupts()
    with contextlib.ExitStack() as stack:
        if hold_signals:
            stack.enter_context(interrupts)
        folder = stack.enter_context(profile)
        context = _launch(stack.enter_context(driver()), executable, Path(folder), flags)
        stack.callback(_close, context)
        interrupts.check()
        yield Page(context, interrupts)


def _launch(playwright: Playwright, executable: Path, profile: Path, flags: Sequence[str]) -> BrowserContext:
    from playwright.sync_api import Error

    as_root = hasattr(os, "geteuid") and os.geteuid() == 0
    try:
        return playwright.chromium.launch_persistent_context(
            profile,
            executable_path=executable,
            headless=True,
            chromium_sandbox=not as_root,  # Chromium refuses to run its sandbox as root
            handle_sigint=False,
            handle_sigterm=False,
            handle_sighup=False,
            timeout=60_000,
            args=[*FLAGS, *flags, *shlex.split(os.environ.get(EXTRA_FLAGS, ""))],
        )
    except Error as error:
        raise BrowserError(
            f"{executable} did not start: {launch_reason(str(error))}", hint=_launch_hint(error)
        ) from error


def _close(context: BrowserContext) -> None:
    from playwright.sync_api import Error

    with contextlib.suppress(Error):  # it crashed or was closed already: nothing is left to close
        context.close()


def launch_reason(log: str) -> str:
    """The line of a failed launch's log that says why: a fatal one, else one that speaks of an error."""
    said = [line.split("[err]", 1)[1].strip() for line in log.splitlines() if "[err]" in line]
    for telling in ("FATAL", "sandbox", "error while loading", "ERROR", "rror"):
        for line in said:
            if telling in line:
                return re.sub(r"^\[[^\]]*\] ", "", line)  # process, time and source file
    return (said or [first_line(log)])[-1]


def _launch_hint(error: Exception) -> str:
    if "usable sandbox" in str(error):
        return f"if this machine forbids sandboxes, set {EXTRA_FLAGS}=--no-sandbox"
    return "run it by hand with --headless=new to see more, or set MLCWEB_CHROMIUM to another browser"


def first_line(error: Exception | str) -> str:
    """An exception's first line, without playwright's prefix."""
    lines = str(error).strip().splitlines() or ["no reason given"]
    return lines[0].removeprefix("Page.evaluate: ").removeprefix("Page.goto: ")
