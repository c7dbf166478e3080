"""``mlcweb completion`` prints the script that makes a shell complete verbs, options, bundles and recipes."""

from __future__ import annotations

import click

from mlcweb.cli.options import verb
from mlcweb.cli.output import Output


@verb("completion", json=False)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(output: Output, shell: str) -> None:
    """Print a shell's completion script.

    \b
    Example:
      mlcweb completion bash >> ~/.bashrc
    """
    from click.shell_completion import BashComplete, FishComplete, ZshComplete

    from mlcweb.cli.command import cli

    source = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}[shell]
    output.line(source(cli, {}, "mlcweb", "_MLCWEB_COMPLETE").source())
