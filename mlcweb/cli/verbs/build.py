"""``mlcweb build`` makes the bundles of a list of models."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlcweb.cli.options import chromium_option, verb
from mlcweb.cli.output import Output
from mlcweb.numbers import seconds, size

if TYPE_CHECKING:
    from mlcweb.build import Step, TaskResult


@verb("build")
@click.argument("models", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--only", metavar="TEXT", help="Build only bundles whose name has TEXT in it.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    help="How many bundles to make at a time; by default one for each 4 cores. Each takes memory of its own.",
)
@click.option(
    "--dask",
    metavar="ADDRESS",
    help="Make the bundles on the Dask cluster whose scheduler has this address, such as tcp://10.0.0.1:8786.",
)
@click.option("--no-validate", is_flag=True, help="Do not run the bundles in a browser.")
@click.option("--no-publish", is_flag=True, help="Leave the file's target alone.")
@click.option("--no-keep", is_flag=True, help="Delete each bundle here once it is published.")
@click.option("--dry-run", is_flag=True, help="List the bundles, and make none.")
@click.option("--force", is_flag=True, help="Do each step again, also where it is done.")
@chromium_option
def command(
    output: Output,
    models: Path,
    only: str | None,
    jobs: int | None,
    dask: str | None,
    no_validate: bool,
    no_publish: bool,
    no_keep: bool,
    dry_run: bool,
    force: bool,
    chromium: Path | None,
) -> None:
    """Compile, validate and publish the models of FILE.

    FILE lists models, quantizations and adapters, in TOML; see docs/scale.md. A step that is done already is not done
    again, so a second run makes what is new or failed. Each bundle has a process of its own; where one fails, the
    others go on, and the exit status is 1.

    \b
    Example:
      mlcweb build models.toml
      mlcweb build models.toml --only Llama --dry-run
      mlcweb build models.toml --dask tcp://10.0.0.1:8786 --no-keep
    """
    from dataclasses import replace

    from mlcweb.build import BuildRequest, build, read_models, require_all
    from mlcweb.cli.build_view import build_view
    from mlcweb.cores import cores
    from mlcweb.errors import BuildError

    read = read_models(models)
    if no_publish:
        read = replace(read, publishing=None)
    if no_keep and read.publishing is None:
        raise click.UsageError("--no-keep would leave nothing, since the bundles are not published")
    if dask and jobs:
        raise click.UsageError("--jobs is for this machine; a Dask worker takes --nthreads bundles at a time")
    if only is not None:
        wanted = tuple(task for task in read.tasks if only.lower() in task.label.lower())
        if not wanted:
            labels = ", ".join(task.label for task in read.tasks[:5])
            raise BuildError(f"no bundle of {models} has {only!r} in its name", hint=f"It has {labels}.")
        read = replace(read, tasks=wanted)
    target = read.publishing.target if read.publishing else None
    if dry_run:
        rows = [{"bundle": task.label, "source": task.request.source} for task in read.tasks]
        document = {"bundles": rows, "out": str(read.out), "target": target}
        output.data(document, lambda: output.table(("BUNDLE", "SOURCE"), [tuple(r.values()) for r in rows]))
        return
    request = BuildRequest(
        models=read,
        jobs=jobs or max(1, cores() // 4),
        dask=dask,
        validate=False if no_validate else None,
        keep=not no_keep,
        force=force,
        chromium=chromium,
    )
    with build_view(output, len(read.tasks)) as view:
        results = build(request, view)
    output.data(
        {"out": str(read.out), "target": target, "bundles": [_document(result) for result in results]},
        lambda: _table(output, results),
    )
    for result in results:
        if result.failure and result.failure.hint:
            output.note(f"{result.name or result.label}: {result.failure.hint}")
    require_all(results)


def _table(output: Output, results: list[TaskResult]) -> None:
    from mlcweb.build import STEPS

    columns = ("BUNDLE", "SIZE", *(step.upper() for step in STEPS), "RESULT")
    rows = []
    for result in results:
        steps = [_step(result, step) for step in STEPS]
        rows.append(
            (
                result.name or result.label,
                size(result.bytes) if result.bytes else "",
                *steps,
                result.failure.message if result.failure else "ok",
            )
        )
    output.table(columns, rows)


def _step(result: TaskResult, step: Step) -> str:
    if result.failed == step:
        return "FAILED"
    if step in result.there:
        return "there"
    return seconds(result.seconds[step]) if step in result.seconds else "-"


def _document(result: TaskResult) -> dict[str, Any]:
    error = result.failure
    return {
        **asdict(result),
        "failure": {"code": error.code, "message": error.message, "hint": error.hint} if error else None,
        "ok": result.ok,
    }
