"""Makes one bundle of a list: compiles it, validates it and publishes it, each only where it is not done yet."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from mlcweb.compile.request import CompileRequest
from mlcweb.errors import MlcwebError
from mlcweb.failures import Failure, explain
from mlcweb.progress import Progress

Step = Literal["compile", "validate", "publish"]
STEPS: Final[tuple[Step, ...]] = ("compile", "validate", "publish")


@dataclass(frozen=True)
class Publishing:
    """Where bundles go; the fields are those of ``PublishRequest``."""

    target: str
    endpoint_url: str | None = None
    public_url: str | None = None


@dataclass(frozen=True)
class Task:
    """A bundle to make. ``label`` is its name as far as it is known before; ``stem`` is its name without the adapter's
    and the quantization's, by default the model's.

    ``out``: the folder for bundles. ``keep``: leave the bundle there when it is published. ``force``: do each step
    again. ``compiler``: the digest of the compiler that is meant, where another machine may have another.
    """

    label: str
    stem: str | None
    request: CompileRequest
    out: Path = Path("dist")
    validate: bool = True
    publishing: Publishing | None = None
    keep: bool = True
    force: bool = False
    chromium: Path | None = None
    compiler: str | None = None


@dataclass(frozen=True)
class TaskResult:
    """What came of a task. ``seconds`` are of the steps that were done; ``there`` are those that were done before.

    ``path`` is None where no bundle is in the folder. ``failed``: the step that failed, for the reason ``failure``.
    ``worker``: the Dask worker that made it.
    """

    label: str
    name: str | None = None
    path: str | None = None
    bytes: int = 0
    tiers: tuple[str, ...] = ()
    seconds: dict[Step, float] = field(default_factory=dict)
    there: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()
    failed: Step | None = None
    failure: Failure | None = None
    worker: str | None = None

    @property
    def ok(self) -> bool:
        """Whether all that was asked for is done."""
        return self.failure is None


def make(task: Task, progress: Progress, began: Callable[[Step], None]) -> TaskResult:
    """Make a task's bundle; each step that begins is told to ``began``.

    What goes wrong is in the result; only an interruption is raised.
    """
    making = _Making(task, _Notes(progress), began)
    try:
        making.run()
    except Exception as error:
        failure = explain(error)
        return replace(making.result(), failed=making.step, failure=failure)
    return making.result()


class _Making:
    """The steps of one task, and what is known after each."""

    def __init__(self, task: Task, progress: _Notes, began: Callable[[Step], None]) -> None:
        self.task = task
        self.progress = progress
        self.began = began
        self.step: Step = "compile"
        self.name: str | None = None
        self.path: Path | None = None
        self.bytes = 0
        self.tiers: tuple[str, ...] = ()
        self.seconds: dict[Step, float] = {}
        self.there: list[Step] = []

    def result(self) -> TaskResult:
        path = str(self.path) if self.path and self.path.is_dir() else None
        return TaskResult(
            label=self.task.label,
            name=self.name,
            path=path,
            bytes=self.bytes,
            tiers=self.tiers,
            seconds={step: took for step, took in self.seconds.items() if step not in self.there},
            there=tuple(self.there),
            notes=tuple(self.progress.notes),
        )

    def run(self) -> None:
        from mlcweb.build.published import published
        from mlcweb.compile.decide import as_name, decide
        from mlcweb.compile.job import compiler_digest

        task = self.task
        if task.compiler not in (None, compiler_digest()):
            raise MlcwebError(
                "this worker has another version of mlcweb, whose bundles would differ",
                hint="Install the same version on each machine.",
            )
        with self._doing("compile"):
            request = replace(task.request, name=task.stem, force=task.force)
            job = decide(request, self.progress)
        if task.stem:
            adapter = job.checkpoint.source.get("adapter")
            parts = [task.stem, *([as_name(adapter)] if adapter else []), job.scheme.name]
            job = replace(job, name="-".join(parts))
        self.name = job.name
        self.path = task.out / job.name
        if task.publishing and not task.force:
            self.step = "publish"  # a target that does not answer is told before the work
            found = published(task.publishing, job.name, job.digest())
            if found is not None:
                self.bytes, self.tiers = found.bytes, found.tiers
                self.there += [step for step in STEPS if step != "validate" or task.validate]
                return
        with self._doing("compile"):
            self._compile(replace(request, out_dir=self.path), job)
        if task.validate:
            with self._doing("validate"):
                self._validate()
        if task.publishing:
            with self._doing("publish"):
                self._publish(task.publishing)

    @contextmanager
    def _doing(self, step: Step) -> Iterator[None]:
        self.step = step
        self.began(step)
        began = time.monotonic()
        yield
        self.seconds[step] = self.seconds.get(step, 0.0) + time.monotonic() - began

    def _compile(self, request: CompileRequest, job: object) -> None:
        from mlcweb.bundle import open_bundle
        from mlcweb.compile.job import Job
        from mlcweb.compile.run import compile_bundle

        assert isinstance(job, Job) and self.path
        made = compile_bundle(request, self.progress, job)
        if made.warning:
            self.progress.note(made.warning)
        if made.reused:
            self.there.append("compile")
        self.bytes = made.bytes
        self.tiers = tuple(tier.name for tier in open_bundle(self.path).manifest.tiers)

    def _validate(self) -> None:
        from mlcweb.build.verdicts import passed_before, remember
        from mlcweb.bundle import MANIFEST_NAME
        from mlcweb.validate import ValidateRequest, validate_bundle

        assert self.path
        sha256 = hashlib.sha256((self.path / MANIFEST_NAME).read_bytes()).hexdigest()
        if not self.task.force and passed_before(sha256):
            self.there.append("validate")
            return
        request = ValidateRequest(best=True, chromium=self.task.chromium)
        validate_bundle(self.path, request, self.progress).require_pass()
        remember(sha256)

    def _publish(self, publishing: Publishing) -> None:
        import shutil

        from mlcweb.publish import PublishRequest, publish

        assert self.path
        request = PublishRequest(
            bundles=(self.path,),
            target=publishing.target,
            endpoint_url=publishing.endpoint_url,
            public_url=publishing.public_url,
        )
        done = publish(request, self.progress)
        (bundle,) = done.bundles
        if not bundle.sent_files and (bundle.manifest, done.catalog) == ("unchanged", "unchanged"):
            self.there.append("publish")
        if not self.task.keep:
            shutil.rmtree(self.path)


class _Notes:
    """Passes progress on, and keeps its notes for the result."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.notes: list[str] = []
        self.start = progress.start
        self.advance = progress.advance

    def note(self, text: str) -> None:
        self.notes.append(text)
        self._progress.note(text)
