"""``mlcweb serve`` serves the chat page on this machine, and OpenAI's API where asked."""

from __future__ import annotations

import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlcweb.cli.options import bundles_argument, chromium_option, tier_option, verb
from mlcweb.cli.output import Output

if TYPE_CHECKING:
    from mlcweb.serve import Server

LOCAL = "127.0.0.1"


@verb("serve")
@bundles_argument
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
    """Serve a bundle and its chat page until Ctrl-C.

    With --api, OpenAI's API is below /v1: chat completions, completions and models, for programs on this machine. The
    engine runs in headless Chromium; several bundles are several models.

    \b
    Example:
      mlcweb serve SmolLM2-135M-Instruct-q4f32_1 --open
      mlcweb serve SmolLM2-135M-Instruct-q4f32_1 --api --port 8080
    """
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

    with serving(bundles[0], port=port, host=host, log=output.note if log else None) as server:
        try:
            _until_stopped(output, bundles[0], server, open_it)
        except KeyboardInterrupt:
            output.note("\nstopped")


def _until_stopped(output: Output, bundle: Path, server: Server, open_it: bool) -> None:
    from mlcweb.serve.server import EVERYWHERE

    output.ready({"url": server.url})
    if server.local:
        output.line(f"Local:   {server.local}")
    if server.network:
        output.line(f"Network: {server.network}")
    elif server.host not in EVERYWHERE:
        output.note("Network: use --host 0.0.0.0 to let other machines in")
    output.note(f"serving {bundle}; Ctrl-C stops it")
    if server.network:
        output.note(
            "browsers give WebGPU to https and localhost pages only, so another machine needs a tunnel or https"
        )
    if open_it and not webbrowser.open(server.url):
        output.note("no browser could be opened: go to the address above")
    threading.Event().wait()
