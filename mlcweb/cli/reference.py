"""Makes docs/cli.md from the commands' own help; ``make docs`` writes it."""

from __future__ import annotations

import click

from mlcweb.cli.command import VERBS, cli

HEAD = """# The command line

Data goes to stdout, everything else to stderr. `--format json` prints exactly one JSON document on
stdout, which is `{"error": {"code", "message", "hint"}}` when nothing else could be said. Exit
status: 0; 1 for a failure; 2 for wrong usage; 130 for Ctrl-C.

Environment: `MLCWEB_CHROMIUM` (the browser to run), `MLCWEB_CHROMIUM_FLAGS` (more flags for it),
`HF_TOKEN`, `HF_HUB_OFFLINE`, `NO_COLOR`; `MLCWEB_CACHE` (where packages' models are kept, by
default `~/.cache/mlcweb`) and `MLCWEB_KERNEL_CACHE` (where lowered kernels are kept, by default
`kernels` in there; empty turns it off); `MLCWEB_DEBUG` (1 to 4: logs stages, choices, kernels or
code to stderr; see [debugging](debugging.md)).

This page is generated from the commands' help by `make docs`.
"""


def render() -> str:
    """The page, the same on every machine."""
    sections = [HEAD, _section(cli, "mlcweb", None)]
    with click.Context(cli, info_name="mlcweb", **cli.context_settings) as parent:
        for name in VERBS:
            command = cli.get_command(parent, name)
            assert command is not None
            sections.append(_section(command, name, parent))
    return "\n".join(sections)


def _section(command: click.Command, name: str, parent: click.Context | None) -> str:
    with click.Context(
        command, info_name=name, parent=parent, terminal_width=100, **command.context_settings
    ) as ctx:
        return f"## {ctx.command_path}\n\n```\n{command.get_help(ctx)}\n```\n"


if __name__ == "__main__":
    print(render(), end="")
