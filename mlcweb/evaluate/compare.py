"""Judges bundles on a text, against a source or another bundle, on the host or in a browser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlcweb.bundle import MANIFEST_NAME
from mlcweb.errors import SourceError
from mlcweb.evaluate.metrics import Scores
from mlcweb.evaluate.run import evaluate
from mlcweb.evaluate.subject import Subject, open_bundle_subject, open_job, source_subject
from mlcweb.evaluate.text import WINDOW, Window, excerpts, held_out, read_text, windows
from mlcweb.progress import Progress


@dataclass(frozen=True)
class Against:
    """What bundles are compared with: another bundle's folder, or a source as ``compile`` takes it."""

    name: str
    kind: str = "auto"
    adapter: str | None = None


@dataclass(frozen=True)
class Row:
    """One model's scores. ``runs_on`` is ``host``, or the tier and the adapter that ran it."""

    name: str
    scheme: str
    bits: float | None
    bytes: int | None
    runs_on: str
    scores: Scores

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        scores = asdict(self.scores)
        return {
            "name": self.name,
            "quantization": self.scheme,
            "bits_per_weight": self.bits,
            "bytes": self.bytes,
            "runs_on": self.runs_on,
            **scores,
            "same": self.scores.same,
        }


@dataclass(frozen=True)
class Comparison:
    """The rows of the bundles, and that of what they were compared with, if anything; ``tokens`` of text were fed."""

    text: str
    tokens: int
    windows: int
    against: Row | None
    rows: tuple[Row, ...]

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "text": self.text,
            "tokens": self.tokens,
            "windows": self.windows,
            "against": self.against and self.against.facts(),
            "bundles": [row.facts() for row in self.rows],
        }


@dataclass(frozen=True)
class Prepared:
    """Opened subjects and the windows they are fed."""

    subjects: tuple[Subject, ...]
    against: Subject | None
    windows: tuple[Window, ...]
    text: str
    tokens: int

    @property
    def length(self) -> int:
        """Tokens of the longest window."""
        return max(len(window.tokens) for window in self.windows)


def prepare(
    bundles: Sequence[Path],
    against: Against | None,
    text: Path | None,
    tokens: int | None,
    progress: Progress,
) -> Prepared:
    """Open everything and cut the text, of which ``tokens`` are taken, all without. Raises an MlcwebError."""
    said = held_out() if text is None else read_text(text)
    other = against and _named_bundle(against.name)
    job = None
    if against and not other:
        progress.start("open")
        job = open_job(against.name, against.kind, against.adapter, progress)
    elif against and (against.kind != "auto" or against.adapter):
        raise SourceError(
            f"--source and --adapter describe a source, but {against.name} is a bundle",
            hint="Leave them out.",
        )
    subjects = tuple(open_bundle_subject(path, progress, job) for path in bundles)
    context = min(subject.context for subject in subjects)
    their = source_subject(job, context) if job else open_bundle_subject(other, progress) if other else None
    every = [*subjects, *([their] if their else [])]
    _compare(every, said, progress)
    ids, prefix = every[0].renderer.text(said)
    taken = ids if tokens is None else excerpts(ids, tokens)
    length = min(WINDOW, *(subject.context for subject in every))
    try:
        cut = tuple(windows(taken, prefix, length))
    except ValueError as error:
        raise SourceError(f"a context of {length} tokens is too short to evaluate a model") from error
    if not cut:
        raise SourceError(
            "the text is a single token, and nothing is left to predict", hint="Give more text."
        )
    return Prepared(subjects, their, cut, str(text) if text else "held out", len(taken))


def compare_on_host(prepared: Prepared, progress: Progress) -> Comparison:
    """All subjects side by side, so that what they are compared with runs once."""
    length, their = prepared.length, prepared.against
    theirs, scores = evaluate(
        [subject.predictor(length) for subject in prepared.subjects],
        prepared.windows,
        their.predictor(length) if their else None,
        progress,
    )
    rows = tuple(host_row(subject, score) for subject, score in zip(prepared.subjects, scores, strict=True))
    return comparison(prepared, rows, theirs)


def comparison(prepared: Prepared, rows: tuple[Row, ...], theirs: Scores | None) -> Comparison:
    """Rows with what they were compared with."""
    against = host_row(prepared.against, theirs) if prepared.against and theirs else None
    return Comparison(prepared.text, prepared.tokens, len(prepared.windows), against, rows)


def host_row(subject: Subject, scores: Scores) -> Row:
    """A subject that ran on the host."""
    return Row(subject.name, subject.scheme, subject.bits, subject.bytes, "host", scores)


def _named_bundle(name: str) -> Path | None:
    """The folder, where ``name`` is a bundle: by its path, or by its name in ``dist/``."""
    for path in (Path(name), Path("dist") / name):
        if path.name == MANIFEST_NAME and path.is_file():
            return path.parent
        if (path / MANIFEST_NAME).is_file():
            return path
    return None


def _compare(subjects: Sequence[Subject], text: str, progress: Progress) -> None:
    """Raise SourceError unless all have one vocabulary."""
    first, *rest = subjects
    for subject in rest:
        if subject.vocab != first.vocab or subject.renderer.text(text) != first.renderer.text(text):
            raise SourceError(
                f"{first.name} and {subject.name} have different tokens, so their predictions cannot be compared",
                hint="Compare bundles with the model they were made from.",
            )
        if subject.adapter != first.adapter:
            with_it, without = (subject, first) if subject.adapter else (first, subject)
            progress.note(f"{with_it.name} has the adapter {with_it.adapter} merged, {without.name} has not")
