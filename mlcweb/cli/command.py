"""Finds a verb's module by name, and imports it only then."""

from __future__ import annotations

import importlib
import signal
import sys
import threading
from types import FrameType

import click

from mlcweb import __version__
from mlcweb.cli.failures import explain, report
from mlcweb.cli.output import Output
from mlcweb.debug import log_to_stderr

VERBS = (
    "compile",
    "chat",
    "embed",
    "rerank",
    "validate",
    "eval",
    "serve",
    "build",
    "publish",
    "check-host",
    "list",
    "inspect",
    "doctor",
    "bench",
    "completion",
)


class VerbGroup(click.Group):
    """Verbs live in ``mlcweb.cli.verbs.<name>``, which imports nothing heavy before its function runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(f"mlcweb.cli.verbs.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], VERBS, 1, 0.5)
            said = f"no such command: {args[0]}" + (f" (did you mean {near[0]}?)" if near else "")
            raise click.UsageError(said, ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="mlcweb")
def cli() -> None:
    """Compile language models to static files that run in the browser on WebGPU.

    \b
    Example:
      mlcweb compile SmolLM2-135M --source pypi
      mlcweb chat SmolLM2-135M-Instruct-q4f32_1 "What is the capital of France?"
    """


def run(argv: list[str] | None) -> int:
    """Parse and run; every failure becomes one message and an exit status."""
    args = list(sys.argv[1:] if argv is None else argv)
    output = Output.for_args(args)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminated)
    try:
        log_to_stderr()
        code = cli.main(args=args, prog_name="mlcweb", standalone_mode=False, obj=output)
        return code if isinstance(code, int) else 0
    except (Exception, KeyboardInterrupt) as error:
        return report(explain(error), error, output)


def _terminated(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)  # unwinds, so that browsers close and temporary files go
