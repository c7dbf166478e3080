"""The harness page of the real engine, and bundles compiled from tiny checkpoints to load in it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from mlcweb.browser.page import open_page
from mlcweb.compile import CompileRequest, compile_bundle
from tests.support.engine import ENGINE
from tests.support.tiny import TinyLlama, make_llama

# With these headers a page may share memory among threads.
ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class _Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    headers_of_all: ClassVar[dict[str, str]] = {}

    def end_headers(self) -> None:
        for name, value in self.headers_of_all.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None: ...


class Site:
    """A folder that is served: the engine's pages, and bundles under their names. Compiles each bundle once."""

    def __init__(self, folder: Path, headers: dict[str, str]) -> None:
        self.folder = folder
        for file in ENGINE.iterdir():
            (folder / file.name).symlink_to(file)
        handler = type("Handler", (_Quiet,), {"headers_of_all": headers})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
        self.server.daemon_threads = True
        self.url = f"http://localhost:{self.server.server_port}/"

    def bundle(self, name: str, model: TinyLlama, quantization: str, **options: Any) -> str:
        """The name under which the model's bundle is served."""
        served = "-".join([name, quantization, *(f"{value}" for value in options.values())])
        if not (self.folder / served).exists():
            source = self.folder.with_name(f"{self.folder.name}-models") / name
            if not source.exists():
                make_llama(source, model)
            # fixtures' logits are of weights that were rounded by MLC's rule
            request = CompileRequest(
                str(source), quantization, self.folder / served, served, scales="mlc", **options
            )
            compile_bundle(request)
        return served

    def compiled(
        self, name: str, make: Callable[[Path], object], quantization: str, tier: str, **options: Any
    ) -> str:
        """The same of a checkpoint that ``make`` writes into a folder, on one tier."""
        served = f"{name}-{quantization}-{tier}"
        if not (self.folder / served).exists():
            source = self.folder.with_name(f"{self.folder.name}-models") / name
            if not source.exists():
                make(source)
            bundle = self.folder / served
            request = CompileRequest(
                str(source), quantization, bundle, served, tiers=(tier,), evaluate=False, **options
            )
            compile_bundle(request)
        return served


@contextmanager
def serve_site(folder: Path, headers: dict[str, str] | None = None) -> Iterator[Site]:
    """A site on a free port; all that it sends has these headers."""
    site = Site(folder, headers or {})
    thread = threading.Thread(target=site.server.serve_forever, daemon=True)
    thread.start()
    yield site
    site.server.shutdown()
    site.server.server_close()
    thread.join()


class ModelPage:
    """``window.mlcweb`` of the harness page, on a site's bundles."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self.loaded: tuple[str, dict[str, Any]] = "", {}
        self.info: dict[str, Any] = {}

    def call(self, method: str, *args: Any) -> Any:
        """The function's result, which may be ``{error}``; fails after ten minutes, as a busy machine may need two."""
        script = """([method, args]) => Promise.race([window.mlcweb[method](...args),
          new Promise((_, reject) => setTimeout(() => reject(new Error(`${method} hangs`)), 600000))])"""
        return self.raw.evaluate(script, [method, list(args)])

    def right(self, method: str, *args: Any) -> Any:
        """The function's result; fails if it is an error."""
        result = self.call(method, *args)
        assert "error" not in result, result
        return result

    def load(self, bundle: str, **options: Any) -> dict[str, Any]:
        """The engine's facts, of this bundle under these options: it is loaded, unless it is the one that is."""
        if self.loaded != (bundle, options):
            self.loaded = bundle, options
            self.info = self.right("load", f"./{bundle}/", {"cache": False, **options})["info"]
        return self.info

    def validate(self, bundle: str, tier: str, **options: Any) -> dict[str, Any]:
        """The engine's report on the bundle's expected answer."""
        self.loaded = "", {}
        report = self.right("validate", f"./{bundle}/", {"cache": False, "tier": tier, **options})
        assert isinstance(report, dict)
        return report


@contextmanager
def open_model_page(
    chromium: Path, site: Site, script: str = "", flags: Sequence[str] = ()
) -> Iterator[ModelPage]:
    """The harness in a browser of its own, with these flags; ``script`` runs before the page's own."""
    with open_page(chromium, hold_signals=False, flags=flags) as page:
        if script:
            page.raw.add_init_script(script)
        page.open(f"{site.url}harness.html", ready="() => Boolean(window.mlcweb)")
        yield ModelPage(page.raw)
