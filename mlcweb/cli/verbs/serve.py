"""``mlcweb serve`` serves the chat page on this machine, and OpenAI's API where asked."""

from __future__ import annotations

import re
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import click

from mlcweb.cli.options import chromium_option, optional_bundles_argument, tier_option, verb
from mlcweb.cli.output import Output

if TYPE_CHECKING:
    from mlcweb.serve import Server

LOCAL = "127.0.0.1"


def _catalog(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """An http or https URL of a host."""
    if value is not None and not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+/\S*", value):
        raise click.BadParameter(f"{value!r} is no http or https URL of a catalog.json", ctx, param)
    return value


@verb("serve")
@optional_bundles_argument
@click.option(
    "--catalog",
    metavar="URL",
    callback=_catalog,
    help="Let the page choose from this published catalog.json: its origin is the only one that the page may ask.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="The port to listen on; 0 takes any free one.",
)
@click.option("--host", default=LOCAL, show_default=True, help="The address to listen on.")
@click.option("--open", "open_it", is_flag=True, help="Open the page in your browser.")
@click.option("--log", is_flag=True, help="Print each request and its status.")
@click.option("--api", is_flag=True, help="Answer OpenAI's API too, from headless Chromium.")
@click.option(
    "--cors",
    "origins",
    metavar="ORIGIN",
    multiple=True,
    help="With --api: let this origin's web pages ask, such as https://app.example; * lets all.",
)
@click.option(
    "--context-length", type=click.IntRange(16), help="With --api: the most tokens of a conversation."
)
@tier_option
@chromium_option
def command(
    output: Output,
    bundles: tuple[Path, ...],
    catalog: str | None,
    port: int,
    host: str,
    open_it: bool,
    log: bool,
    api: bool,
    origins: tuple[str, ...],
    context_length: int | None,
    tier: str | None,
    chromium: Path | None,
) -> None:
    """Serve a bundle, or a published catalog's, and its chat page until Ctrl-C.

    With --api, OpenAI's API is below /v1: chat completions, completions and models, for programs on this machine. The
    engine runs in headless Chromium; several bundles are several models.

    \b
    Example:
      mlcweb serve SmolLM2-135M-Instruct-q4f32_1 --open
      mlcweb serve SmolLM2-135M-Instruct-q4f32_1 --api --port 8080
      mlcweb serve --catalog https://models.example/web/catalog.json --open
    """
    if catalog and (bundles or api):
        raise click.UsageError("--catalog is a page by itself: leave BUNDLE and --api out")
    if not bundles and not catalog:
        raise click.UsageError("give a BUNDLE" + ("" if api else ", or --catalog URL"))
    if api:
        from mlcweb.cli.api_server import ApiOptions, serve_api

        if host != LOCAL:
            raise click.UsageError(f"--api listens on {LOCAL} only: leave --host out")
        serve_api(output, bundles, ApiOptions(port, origins, chromium, tier, context_length, open_it, log))
        return
    needing = {"--cors": origins, "--context-length": context_length, "--tier": tier, "--chromium": chromium}
    for name, value in needing.items():
        if value:
            raise click.UsageError(f"{name} needs --api")
    if len(bundles) > 1:
        raise click.UsageError("more than one bundle needs --api")
    from mlcweb.serve import serving

    bundle = bundles[0] if bundles else None
    query, origin = "", None
    if catalog:
        place = urlsplit(catalog)
        query, origin = f"?catalog={quote(catalog, safe='')}", f"{place.scheme}://{place.netloc}"
    note = output.note if log else None
    with serving(bundle, port=port, host=host, log=note, connect=origin) as server:
        try:
            _until_stopped(output, str(bundle or catalog), server, query, open_it)
        except KeyboardInterrupt:
            output.note("\nstopped")


def _until_stopped(output: Output, served: str, server: Server, query: str, open_it: bool) -> None:
    from mlcweb.serve.server import EVERYWHERE

    output.ready({"url": server.url + query})
    if server.local:
        output.line(f"Local:   {server.local}{query}")
    if server.network:
        output.line(f"Network: {server.network}{query}")
    elif server.host not in EVERYWHERE:
        output.note("Network: use --host 0.0.0.0 to let other machines in")
    output.note(f"serving {served}; Ctrl-C stops it")
    if server.network:
        output.note(
            "browsers give WebGPU to https and localhost pages only, so another machine needs a tunnel or https"
        )
    if open_it and not webbrowser.open(server.url + query):
        output.note("no browser could be opened: go to the address above")
    threading.Event().wait()
