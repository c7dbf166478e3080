"""``mlcweb serve`` serves the chat page on this machine."""

from __future__ import annotations

import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlcweb.cli.options import bundle_argument, verb
from mlcweb.cli.output import Output

if TYPE_CHECKING:
    from mlcweb.serve import Server


@verb("serve", json=False)
@bundle_argument
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="The port to listen on; 0 takes any free one.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--open", "open_it", is_flag=True, help="Open the page in your browser.")
@click.option("--log", is_flag=True, help="Print each request and its status.")
def command(output: Output, bundle: Path, port: int, host: str, open_it: bool, log: bool) -> None:
    """Serve a bundle and its chat page until Ctrl-C.

    \b
    Example:
      mlcweb serve SmolLM2-135M-Instruct-q4f32_1 --open
    """
    from mlcweb.serve import serving

    with serving(bundle, port=port, host=host, log=output.note if log else None) as server:
        try:
            _until_stopped(output, bundle, server, open_it)
        except KeyboardInterrupt:
            output.note("\nstopped")


def _until_stopped(output: Output, bundle: Path, server: Server, open_it: bool) -> None:
    from mlcweb.serve.server import EVERYWHERE

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
