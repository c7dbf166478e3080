"""Runs the engine in a browser: it serves a bundle, opens the harness page, and has the page's verbs as methods.

The page's side is runtime-js/pages/harness.ts: plain JSON in and out, and ``{error}`` for a failure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlcweb.browser.adapter import Adapter, probe_page
from mlcweb.browser.page import IDLE_SECONDS, Page, open_page
from mlcweb.debug import debug_level
from mlcweb.errors import BrowserError, BundleError, MlcwebError
from mlcweb.progress import Progress, SilentProgress
from mlcweb.serve import serving

Json = dict[str, Any]
BUNDLE_ERRORS = ("integrity", "bundle")


@dataclass(frozen=True)
class LoadOptions:
    """What ``Engine.load`` is asked for: which of a bundle's kernels to run; None leaves it to the engine.

    ``activations`` is what prefill computes with, "float", "int8" or "matrix".
    """

    tier: str | None = None
    activations: str | None = None


class Session:
    """``window.mlcweb`` of the harness page."""

    def __init__(self, page: Page, bundle_url: str) -> None:
        self.page = page
        self.bundle_url = bundle_url
        self._on_delta: Callable[[str], None] = lambda text: None
        page.listen("mlcwebDelta", lambda text: self._on_delta(str(text)))
        self._loading = LoadProgress(SilentProgress())
        page.listen("mlcwebProgress", lambda event: self._loading.hear(event))

    def adapter(self) -> Adapter:
        """The adapter this browser offers."""
        return probe_page(self.page)

    def load(
        self,
        load_options: LoadOptions = LoadOptions(),
        progress: Progress | None = None,
        *,
        profile: bool = False,
    ) -> Json:
        """Load the bundle; the engine's facts (``info``: name, tier, adapter, memory, timings).

        ``profile`` asks the device for what profiling uses.
        """
        self._loading = LoadProgress(progress or SilentProgress())
        options = {**self._options(load_options), "profile": profile}
        info = self._call("load", self.bundle_url, options)["info"]
        assert isinstance(info, dict)
        return info

    def add_model(
        self, url: str, load_options: LoadOptions, context_length: int | None, progress: Progress
    ) -> Json:
        """Load a bundle beside the others that ``serve_api`` answers with; the engine's facts."""
        self._loading = LoadProgress(progress)
        options = self._options(load_options)
        if context_length is not None:
            options["contextLength"] = context_length
        info = self._call("addModel", url, options)["info"]
        assert isinstance(info, dict)
        return info

    def serve_api(self, relay_url: str) -> None:
        """Answer the requests that come from there, until its stream ends; Ctrl-C raises."""
        self._call("serveApi", relay_url, idle_seconds=math.inf)

    def chat(self, messages: Sequence[Json], options: Json, on_delta: Callable[[str], None]) -> Json:
        """One answer, streamed; Ctrl-C stops it, and what was said so far is the answer."""
        self._on_delta = on_delta
        return self._call("chat", list(messages), options, stop=self._interrupt)

    def validate(self, load_options: LoadOptions = LoadOptions(), progress: Progress | None = None) -> Json:
        """Replay the bundle's expected answer."""
        self._loading = LoadProgress(progress or SilentProgress(), "replay the answer")
        return self._call("validate", self.bundle_url, self._options(load_options))

    def begin_steps(self, tokens: Sequence[int]) -> None:
        """Tokens for ``next_steps`` to feed to the loaded bundle, one by one, from an empty context."""
        self._call("beginSteps", list(tokens))

    def next_steps(self, count: int) -> list[str]:
        """Feed the next ``count`` of them: the logits after each, little-endian float32 in base64."""
        logits = self._call("nextSteps", count)["logits"]
        assert isinstance(logits, list)
        return logits

    def bench_load(self, load_options: LoadOptions = LoadOptions(), progress: Progress | None = None) -> Json:
        """Load the bundle from the server, then from the browser's cache, each up to a first token."""
        self._loading = LoadProgress(progress or SilentProgress(), "a first token")
        return self._call("benchLoad", self.bundle_url, self._options(load_options))

    def bench(self, options: Json) -> Json:
        """Measure prefill and decode of the loaded bundle."""
        return self._call("bench", options)

    def profile(self, options: Json) -> Json:
        """Time a decode step and a prefill chunk of the loaded bundle, kernel by kernel."""
        return self._call("profile", options)

    def _options(self, load_options: LoadOptions) -> Json:
        # The profile is thrown away, so keeping a copy of the weights in its cache would be work for nothing.
        chosen = {name: value for name, value in asdict(load_options).items() if value}
        return {"cache": False, "debug": debug_level(), **chosen}

    def _interrupt(self) -> None:
        self.page.evaluate("window.mlcweb.interrupt()")

    def _call(
        self,
        method: str,
        *args: object,
        stop: Callable[[], None] | None = None,
        idle_seconds: float = IDLE_SECONDS,
    ) -> Json:
        result = self.page.call(method, *args, stop=stop, idle_seconds=idle_seconds)
        if not isinstance(result, dict):
            raise BrowserError(
                f"the engine's {method} answered {result!r}", hint="rebuild it with `make engine`"
            )
        if "error" in result:
            raise engine_error(result["error"])
        return result


class LoadProgress:
    """The engine's load events as stages; ``after`` is the stage that begins when the model is ready."""

    def __init__(self, progress: Progress, after: str = "") -> None:
        self._progress = progress
        self._after = after
        self._stage = ""
        self._bytes = 0

    def hear(self, event: Json) -> None:
        """One ``onProgress`` event: weights count bytes, the other stages just begin."""
        stage, total = str(event["stage"]), int(event["totalBytes"])
        if self._stage == "weights":
            # Events are few, and the last of a stage is the first of the next.
            self._advance(int(event["loadedBytes"]))
        if stage == "ready":
            self._stage = stage  # a load that follows begins anew
            if self._after:
                self._progress.start(self._after)
        if stage == self._stage or stage not in ("weights", "kernels"):
            return
        self._stage, self._bytes = stage, 0
        self._progress.start(f"load {stage}", *((total, "bytes") if stage == "weights" else ()))
        if stage == "weights":
            self._advance(int(event["loadedBytes"]))

    def _advance(self, loaded: int) -> None:
        self._progress.advance(loaded - self._bytes)
        self._bytes = loaded


def engine_error(error: Json) -> MlcwebError:
    """The engine's typed error as ours: a damaged bundle is the bundle's fault, the rest the browser's."""
    code = str(error.get("code") or "browser")
    kind = BundleError if code in BUNDLE_ERRORS else BrowserError
    raised = kind(str(error.get("message") or "the engine failed"), hint=str(error.get("hint") or ""))
    raised.code = code
    return raised


@contextmanager
def open_session(
    bundle: Path,
    chromium: Path | None = None,
    progress: Progress | None = None,
    flags: Sequence[str] = (),
) -> Iterator[Session]:
    """Serve the bundle on a free port and open the harness on it, in a Chromium with ``flags`` beside ours."""
    if progress:
        progress.start("start Chromium")
    with serving(bundle) as server, open_page(chromium, flags=flags) as page:
        session = Session(page, f"{server.url}bundle/")
        page.open(f"{server.url}harness.html", ready="() => Boolean(window.mlcweb)")
        yield session
