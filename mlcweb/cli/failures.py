"""Turns an error into a message and the exit status: those of the command line here, all others in ``failures``."""

from __future__ import annotations

import traceback

import click

from mlcweb import failures
from mlcweb.cli.output import Output
from mlcweb.failures import INTERRUPTED, Failure


def explain(error: BaseException) -> Failure:
    """What to tell of an error that ended a command."""
    if isinstance(error, click.Abort):
        return Failure("interrupted", "interrupted", "", INTERRUPTED)
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "mlcweb"
        return Failure("usage", error.format_message(), f"see `{path} --help`", error.exit_code)
    if isinstance(error, click.ClickException):
        return Failure("usage", error.format_message(), "", error.exit_code)
    return failures.explain(error)


def report(failure: Failure, error: BaseException, output: Output) -> int:
    """Print the failure and return the exit status."""
    if output.debug:
        traceback.print_exception(error)
    output.fail(failure.code, failure.message, failure.hint)
    return failure.exit_code
