"""Builds a list: its tasks go to processes here or to a Dask cluster, and the results come as they are ready."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from mlcweb.build.local import make_here
from mlcweb.build.models_file import ModelsFile
from mlcweb.build.process import Event
from mlcweb.build.task import Task, TaskResult
from mlcweb.errors import BuildError
from mlcweb.failures import Failure


@dataclass(frozen=True)
class BuildRequest:
    """``jobs``: how many bundles to make at a time here. ``dask``: the address of a scheduler, instead of here.

    The rest are as in ``Task``; ``validate`` None takes the file's word.
    """

    models: ModelsFile
    jobs: int = 1
    dask: str | None = None
    validate: bool | None = None
    keep: bool = True
    force: bool = False
    chromium: Path | None = None


class BuildView(Protocol):
    """Shows what goes on. Its methods are called by several threads."""

    def began(self, label: str) -> None:
        """A bundle is being made; again after its Dask worker was lost."""

    def event(self, label: str, event: Event) -> None:
        """It goes on."""

    def ended(self, result: TaskResult) -> None:
        """It is there, or it failed."""


def build(request: BuildRequest, view: BuildView) -> list[TaskResult]:
    """The results in the list's order; what failed is among them.

    Raises BuildError where nothing can be begun: Dask is missing, or its scheduler does not answer.
    """
    tasks = list_tasks(request)
    if request.dask is None:
        coming = make_here(tasks, request.jobs, view)
    else:
        from mlcweb.build.cluster import make_on_dask

        coming = make_on_dask(tasks, request.dask, view)
    results: dict[str, TaskResult] = {}
    for result in coming:
        result = _once(result, results.values())
        view.ended(result)
        results[result.label] = result
    return [results[task.label] for task in tasks]


def _once(result: TaskResult, before: Iterable[TaskResult]) -> TaskResult:
    """The result, which failed if another bundle has its name: each replaces the other."""
    other = next((one.label for one in before if result.name and one.name == result.name), None)
    if other is None or not result.ok:
        return result
    failure = Failure("build", f"{other} is also named {result.name}", "Give one of them a name of its own.")
    return replace(result, failed="compile", failure=failure)


def list_tasks(request: BuildRequest) -> list[Task]:
    """The tasks with what the request says of all."""
    models = request.models
    return [
        replace(
            task,
            out=models.out.absolute(),
            validate=models.validate if request.validate is None else request.validate,
            publishing=models.publishing,
            keep=request.keep,
            force=request.force,
            chromium=request.chromium,
        )
        for task in models.tasks
    ]


def require_all(results: Sequence[TaskResult]) -> None:
    """Raises BuildError unless each bundle is made."""
    failed = [result for result in results if not result.ok]
    if failed:
        what = f"{len(failed)} of {len(results)} bundles failed" if len(results) > 1 else "the bundle failed"
        raise BuildError(
            f"{what}: {', '.join(result.name or result.label for result in failed)}",
            hint="Mend what the table says and build again: what is done is not done again.",
        )
