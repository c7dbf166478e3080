"""The engine in a browser: a bundle served, the harness page open, and its verbs as methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlcweb.browser.adapter import Adapter, probe_page
from mlcweb.browser.page import Page, open_page
from mlcweb.errors import BrowserError, BundleError, MlcwebError
from mlcweb.progress import Progress, SilentProgress
from mlcweb.serve import serving

Json = dict[str, Any]


class Session:
    """``window.mlcweb`` of the harness page."""

    def __init__(self, page: Page, bundle_url: str) -> None:
        self.page = page
        self.bundle_url = bundle_url
        self._on_delta: Callable[[str], None] = lambda text: None
        self._progress: Progress = SilentProgress()
        self._loaded = 0
        page.listen("mlcwebDelta", lambda text: self._on_delta(text))
        page.listen("mlcwebProgress", self._on_progress)

    def adapter(self) -> Adapter:
        """The adapter this browser offers."""
        return probe_page(self.page)

    def load(self, tier: str | None = None, progress: Progress | None = None) -> Json:
        """Load the bundle; what it took."""
        self._progress, self._loaded = progress or SilentProgress(), 0
        options: Json = {"tier": tier} if tier else {}
        return self._call("load", self.bundle_url, options)

    def chat(self, messages: Sequence[Json], options: Json, on_delta: Callable[[str], None]) -> Json:
        """One answer, streamed; Ctrl-C stops it, and what was said so far is returned."""
        self._on_delta = on_delta
        return self._call("chat", list(messages), options, stop=self._stop)

    def validate(self, tier: str | None = None) -> Json:
        """Replay the bundle's validation steps."""
        return self._call("validate", self.bundle_url, {"tier": tier} if tier else {})

    def bench(self, options: Json) -> Json:
        """Measure prefill and decode."""
        return self._call("bench", {"url": self.bundle_url, **options})

    def _stop(self) -> None:
        self.page.evaluate("window.mlcweb.stop()")

    def _call(self, method: str, *args: object, stop: Callable[[], None] | None = None) -> Json:
        result = self.page.call(method, *args, stop=stop)
        if not isinstance(result, dict):
            raise BrowserError(
                f"the engine's {method} answered {result!r}", hint="rebuild it with `make engine`"
            )
        if "error" in result:
            raise engine_error(result["error"])
        return result

    def _on_progress(self, event: Json) -> None:
        stage, loaded, total = (
            str(event.get("stage", "load")),
            int(event.get("loaded", 0)),
            event.get("total", 0),
        )
        if loaded < self._loaded or getattr(self, "_stage", None) != stage:
            self._stage, self._loaded = stage, 0
            self._progress.start(stage, int(total), str(event.get("unit", "bytes")))
        self._progress.advance(loaded - self._loaded)
        self._loaded = loaded


def engine_error(error: Json) -> MlcwebError:
    """The engine's typed error as ours: a damaged bundle is the bundle's fault, the rest the browser's."""
    code = str(error.get("code", "browser"))
    kind = BundleError if code in ("integrity", "bundle", "format") else BrowserError
    raised = kind(str(error.get("message", "the engine failed")), hint=str(error.get("hint") or ""))
    raised.code = code
    return raised


@contextmanager
def open_session(bundle: Path, chromium: Path | None = None) -> Iterator[Session]:
    """Serve the bundle on a free port and open the harness on it."""
    with serving(bundle) as server, open_page(chromium) as page:
        session = Session(page, f"{server.url}bundle/")
        page.open(f"{server.url}harness.html", ready="() => Boolean(window.mlcweb)")
        yield session
