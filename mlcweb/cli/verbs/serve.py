"""``mlcweb serve``: the chat page, on this machine."""

from __future__ import annotations

import threading
import webbrowser
from pathlib import Path

import click

from mlcweb.cli.options import bundle_argument, verb
from mlcweb.cli.output import Output


@verb("serve", json=False)
@bundle_argument
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes any free port."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--open", "open_it", is_flag=True, help="Open the page in your browser.")
def command(output: Output, bundle: Path, port: int, host: str, open_it: bool) -> None:
    """Serve a bundle and its chat page until Ctrl-C.

    \b
    Example:
      mlcweb serve SmolLM2-135M-Instruct-q4f32_1 --open
    """
    from mlcweb.serve import serving

    with serving(bundle, port=port, host=host) as server:
        try:
            _until_stopped(output, bundle, host, server.url, open_it)
        except KeyboardInterrupt:
            output.note("\nstopped")


def _until_stopped(output: Output, bundle: Path, host: str, url: str, open_it: bool) -> None:
    output.line(url)
    output.note(f"serving {bundle}; Ctrl-C stops it")
    if host in ("0.0.0.0", "::"):
        output.note("other machines can reach it, but browsers give WebGPU to https and localhost pages only")
    if open_it and not webbrowser.open(url):
        output.note("no browser could be opened: go to the address above")
    threading.Event().wait()
