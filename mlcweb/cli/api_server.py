"""Runs ``mlcweb serve --api``: a server for OpenAI's API, and the page in headless Chromium that answers it."""

from __future__ import annotations

import json
import shlex
import webbrowser
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from mlcweb.browser.page import open_page
from mlcweb.browser.session import LoadOptions, Session
from mlcweb.cli.output import Output
from mlcweb.serve import serving
from mlcweb.serve.api import api_handler
from mlcweb.serve.relay import Relay


@dataclass(frozen=True)
class ApiOptions:
    """What the command line says of the server and its engines."""

    port: int
    origins: tuple[str, ...] = ()
    chromium: Path | None = None
    tier: str | None = None
    context_length: int | None = None
    open_it: bool = False
    log: bool = False


def serve_api(output: Output, bundles: Sequence[Path], options: ApiOptions) -> None:
    """Load the bundles and answer until Ctrl-C."""
    relay = Relay()
    handler = api_handler(relay, bundles, options.origins)
    log = output.note if options.log else None
    with ExitStack() as stack:
        server = stack.enter_context(serving(bundles[0], port=options.port, handler=handler, log=log))
        stack.callback(relay.close)
        with output.progress() as progress:
            progress.start("start Chromium")
            page = stack.enter_context(open_page(options.chromium))
            session = Session(page, f"{server.url}bundles/0/")
            page.open(f"{server.url}harness.html", ready="() => Boolean(window.mlcweb)")
            load = LoadOptions(options.tier)
            models = [
                session.add_model(f"{server.url}bundles/{i}/", load, options.context_length, progress)
                for i in range(len(bundles))
            ]
        names = [str(model["name"]) for model in models]
        _say_ready(output, server.url, names)
        if options.open_it and not webbrowser.open(server.url):
            output.note("no browser could be opened: go to the address above")
        try:
            session.serve_api(f"{server.url}relay/{relay.token}/")
        except KeyboardInterrupt:
            output.note("\nstopped")


def _say_ready(output: Output, url: str, names: Sequence[str]) -> None:
    output.ready({"url": url, "api": f"{url}v1", "models": list(names)})
    request = {"model": names[0], "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    output.facts({"API": f"{url}v1", "Models": ", ".join(names), "Chat page": url})
    output.note(
        f"try:\n  curl -N {url}v1/chat/completions -H 'Content-Type: application/json' \\\n"
        f"    -d {shlex.quote(json.dumps(request))}"
    )
    output.note("Ctrl-C stops it")
