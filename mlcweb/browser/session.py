"""Runs the engine in a browser: it serves a bundle, opens the harness page, and has the page's verbs as methods.

The page's side is runtime-js/pages/harness.ts: plain JSON in and out, and ``{error}`` for a failure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlcweb.browser.adapter import Adapter, probe_page
from mlcweb.browser.harness import READY, open_harness
from mlcweb.browser.page import IDLE_SECONDS, Page, open_page
from mlcweb.browser.remote import RemoteBrowser, open_remote_page
from mlcweb.debug import debug_level
from mlcweb.errors import BrowserError, BundleError, MlcwebError
from mlcweb.progress import Progress, SilentProgress
from mlcweb.serve import serving
from mlcweb.serve.handler import AnyOriginHandler

Json = dict[str, Any]
BUNDLE_ERRORS = ("integrity", "bundle")
COUNTED = ("files", "weights")  # stages of bytes


@dataclass(frozen=True)
class LoadOptions:
    """What ``Engine.load`` is asked for: which of a bundle's kernels to run; None leaves it to the engine.

    ``activations`` is what prefill computes with, "float", "int8" or "matrix".
    """

    tier: str | None = None
    activations: str | None = None


class Session:
    """``window.mlcweb`` of the harness page."""

    def __init__(self, page: Page, bundle_url: str, *, keep: bool = False) -> None:
        """``keep``: loads take from the browser's cache what ``verify_files`` or a load put there."""
        self.page = page
        self.bundle_url = bundle_url
        self._keep = keep
        self._on_delta: Callable[[str], None] = lambda text: None
        page.listen("mlcwebDelta", lambda text: self._on_delta(str(text)))
        self._loading: LoadProgress | TextsProgress = LoadProgress(SilentProgress())
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

    def embed(self, request: Json, progress: Progress | None = None) -> Json:
        """Embeddings of the request's ``input`` by the loaded bundle, in OpenAI's shape; Ctrl-C cancels."""
        self._loading = TextsProgress(progress or SilentProgress())
        return self._call("embed", request, stop=self._abort)

    def rerank(self, request: Json, progress: Progress | None = None) -> Json:
        """The request's ``documents`` by how well they answer its ``query``, in Cohere's shape; Ctrl-C cancels."""
        self._loading = TextsProgress(progress or SilentProgress())
        return self._call("rerank", request, stop=self._abort)

    def describe(self) -> Json:
        """The bundle's name, files, bytes, and what this browser lacks for each tier."""
        return self._call("describe", self.bundle_url)

    def verify_files(self, progress: Progress | None = None) -> list[Json]:
        """Fetch and verify every file; those that are damaged or missing."""
        self._loading = LoadProgress(progress or SilentProgress())
        damaged = self._call("verifyFiles", self.bundle_url)["damaged"]
        assert isinstance(damaged, list)
        return damaged

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
        # The profile is thrown away, so keep a copy of the weights only where it is read again.
        chosen = {name: value for name, value in asdict(load_options).items() if value}
        return {"cache": self._keep, "debug": debug_level(), **chosen}

    def _abort(self) -> None:
        self.page.evaluate("window.mlcweb.abort()")

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
            raise engine_error(result["error"], self.page.network_fault)
        return result


class LoadProgress:
    """The engine's load events as stages; ``after`` is the stage that begins when the model is ready."""

    def __init__(self, progress: Progress, after: str = "") -> None:
        self._progress = progress
        self._after = after
        self._stage = ""
        self._bytes = 0

    def hear(self, event: Json) -> None:
        """One ``onProgress`` event: weights and files count bytes, the other stages just begin."""
        stage, total = str(event["stage"]), int(event["totalBytes"])
        if self._stage in COUNTED:
            # Events are few, and the last of a stage is the first of the next.
            self._advance(int(event["loadedBytes"]))
        if stage == "ready":
            self._stage = stage  # a load that follows begins anew
            if self._after:
                self._progress.start(self._after)
        if stage == self._stage or stage not in (*COUNTED, "kernels"):
            return
        self._stage, self._bytes = stage, 0
        name = "verifying" if stage == "files" else f"load {stage}"
        self._progress.start(name, *((total, "bytes") if stage in COUNTED else ()))
        if stage in COUNTED:
            self._advance(int(event["loadedBytes"]))

    def _advance(self, loaded: int) -> None:
        self._progress.advance(loaded - self._bytes)
        self._bytes = loaded


class TextsProgress:
    """The engine's events of a request about texts as a stage."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._done = progress, -1

    def hear(self, event: Json) -> None:
        """One ``onProgress`` event: how many texts are done, of how many."""
        if self._done < 0:
            self._progress.start("texts", int(event["total"]), "items")
            self._done = 0
        self._progress.advance(int(event["done"]) - self._done)
        self._done = int(event["done"])


def engine_error(error: Json, network_fault: str = "") -> MlcwebError:
    """The engine's typed error as ours: a damaged bundle is the bundle's fault, the rest the browser's."""
    code = str(error.get("code") or "browser")
    kind = BundleError if code in BUNDLE_ERRORS else BrowserError
    message, hint = str(error.get("message") or "the engine failed"), str(error.get("hint") or "")
    if code == "network" and network_fault:
        message += f" The browser says: {network_fault}."
        hint = "" if "Access-Control" in network_fault else hint  # no second try will help
    raised = kind(message, hint=hint)
    raised.code = code
    return raised


@contextmanager
def open_session(
    bundle: Path | str,
    chromium: Path | None = None,
    progress: Progress | None = None,
    flags: Sequence[str] = (),
    remote: RemoteBrowser | None = None,
) -> Iterator[Session]:
    """Open the harness on a bundle: in a Chromium with ``flags`` beside ours, or in the ``remote`` browser.

    A folder is served on a free port. A bundle at a URL stays there, and loads keep what they fetch of it.
    """
    if progress:
        progress.start("open the remote browser" if remote else "start Chromium")
    with ExitStack() as stack:
        if isinstance(bundle, Path) and remote is None:
            server = stack.enter_context(serving(bundle))
            page = stack.enter_context(open_page(chromium, flags=flags))
            session = Session(page, f"{server.url}bundle/")
            page.open(f"{server.url}harness.html", ready=READY)
            yield session
            return
        if remote is None:
            page = stack.enter_context(open_page(chromium, flags=flags))
        else:
            page = stack.enter_context(open_remote_page(remote))
        if isinstance(bundle, Path):
            assert remote is not None
            server = stack.enter_context(serving(bundle, host=remote.serve_host, handler=AnyOriginHandler))
            session = Session(page, f"{server.network or server.url}bundle/")
        else:
            session = Session(page, bundle, keep=True)
        open_harness(page)
        yield session
