"""Predicts with the engine's own kernels: a bundle in headless Chromium, a token at a time."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mlcweb.browser.session import LoadOptions, Session, open_session
from mlcweb.evaluate.compare import Comparison, Prepared, Row, comparison
from mlcweb.evaluate.metrics import Scores
from mlcweb.evaluate.run import evaluate
from mlcweb.progress import Progress

F32 = npt.NDArray[np.float32]


class BrowserPredictor:
    """A loaded session. Each token is a decode step, whose logits are read back."""

    def __init__(self, session: Session, vocab: int) -> None:
        self._session, self.vocab = session, vocab

    def begin(self, tokens: Sequence[int]) -> None:
        self._session.begin_steps(tokens)

    def feed(self, tokens: Sequence[int]) -> F32:
        """Raises BrowserError or BundleError as the engine does."""
        rows = [
            np.frombuffer(base64.b64decode(step), "<f4") for step in self._session.next_steps(len(tokens))
        ]
        logits: F32 = np.stack(rows).astype(np.float32, copy=False)
        if logits.shape != (len(tokens), self.vocab):
            raise ValueError(f"logits {logits.shape} for {len(tokens)} tokens of {self.vocab}")
        return logits


def compare_in_browser(
    prepared: Prepared, tiers: Sequence[str], chromium: Path | None, progress: Progress
) -> Comparison:
    """Each bundle on each tier (the best one when none is named), in a browser of its own, one after the other.

    What they are compared with runs on the host each time, beside the browser. Raises BundleError for a tier that a
    bundle lacks.
    """
    from mlcweb.bundle import open_bundle

    for subject in prepared.subjects:
        for tier in tiers:
            open_bundle(_path(subject.path)).tier(tier)
    rows, theirs = list[Row](), None
    asked: Sequence[str | None] = tiers or (None,)
    for subject in prepared.subjects:
        for named in asked:
            tier_name, theirs, scores = _run(
                prepared, _path(subject.path), subject.vocab, named, chromium, progress
            )
            rows.append(Row(subject.name, subject.scheme, subject.bits, subject.bytes, tier_name, scores))
    return comparison(prepared, tuple(rows), theirs)


def _run(
    prepared: Prepared, bundle: Path, vocab: int, tier: str | None, chromium: Path | None, progress: Progress
) -> tuple[str, Scores | None, Scores]:
    their = prepared.against
    with open_session(bundle, chromium, progress) as session:
        adapter = session.adapter()
        info = session.load(LoadOptions(tier), progress)
        theirs, (scores,) = evaluate(
            [BrowserPredictor(session, vocab)],
            prepared.windows,
            their.predictor(prepared.length) if their else None,
            progress,
        )
    return f"{info['tier']} on {adapter.name}", theirs, scores


def _path(path: Path | None) -> Path:
    assert path is not None  # a subject of prepare's is a bundle
    return path
