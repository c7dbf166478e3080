"""Makes docs/cli.md from the commands' own help; ``make docs`` writes it."""

from __future__ import annotations

import click

from mlcweb.cli.command import VERBS, cli

HEAD = """# The command line

Data goes to stdout, everything else to stderr. `--format json` prints exactly one JSON document on
stdout; after a failure it is `{"error": {"code", "message", "hint"}}`. The exit status is 0 for
success, 1 for a failure, 2 for wrong usage, and 130 for Ctrl-C. `serve`, which goes on, prints its
document as one line when it is ready: `{"url", "api", "models"}`.

| environment variable | meaning |
| -- | -- |
| `MLCWEB_CHROMIUM`, `MLCWEB_CHROMIUM_FLAGS` | the browser to run, and more flags for it |
| `MLCWEB_CACHE` | the folder for models from packages; by default `~/.cache/mlcweb` |
| `MLCWEB_KERNEL_CACHE` | the folder for lowered kernels; by default `kernels` in the former; empty: no cache |
| `MLCWEB_CORES` | how many CPU cores to use; by default all that the system gives |
| `MLCWEB_DEBUG` | 1 to 4: log stages, choices, kernels or code to stderr ([debugging](debugging.md)) |
| `AWS_…`, `GOOGLE_…`, `AZURE_…` | where and as whom to publish ([publishing](publishing.md)) |
| `HF_TOKEN`, `HF_HUB_OFFLINE`, `NO_COLOR` | what they mean to other programs |

`make docs` generates this page from the commands' help.
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
