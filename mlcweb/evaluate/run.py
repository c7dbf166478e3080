"""Feeds the same windows to models side by side, chunk by chunk, and scores what they predict."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlcweb.evaluate.metrics import Scorer, Scores, Tally
from mlcweb.evaluate.predictor import Predictor, chunk_tokens
from mlcweb.evaluate.text import Window
from mlcweb.progress import Progress, SilentProgress


def evaluate(
    predictors: Sequence[Predictor],
    windows: Sequence[Window],
    against: Predictor | None = None,
    progress: Progress | None = None,
) -> tuple[Scores | None, list[Scores]]:
    """The scores of ``against``, and of each predictor against it. No more than two chunks' logits are in memory.

    Progress is in tokens. Raises ValidationError for logits that are not finite.
    """
    progress = progress or SilentProgress()
    scorer = Scorer()
    every = [*predictors, *([against] if against else [])]
    tallies, their = [Tally() for _ in predictors], Tally()
    step = chunk_tokens(max(predictor.vocab for predictor in every))
    progress.start("evaluate", sum(len(window.tokens) for window in windows), "tokens")
    for window in windows:
        for predictor in every:
            predictor.begin(window.tokens)
        for start in range(0, len(window.tokens), step):
            chunk = window.tokens[start : start + step]
            # the logits after a token predict the next: the last token of a window has none, the prefix is given
            rows = slice(max(0, window.first - 1 - start), min(len(chunk), len(window.tokens) - 1 - start))
            targets = np.array(window.tokens[start + 1 : start + 1 + len(chunk)], np.int64)[rows]
            theirs = against.feed(chunk)[rows] if against else None
            if theirs is not None and len(targets):
                their.add(scorer.score(theirs, targets))
            for predictor, tally in zip(predictors, tallies, strict=True):
                logits = predictor.feed(chunk)[rows]
                if len(targets):
                    tally.add(scorer.score(logits, targets, theirs))
            progress.advance(len(chunk))
    return (their.scores() if against else None), [tally.scores() for tally in tallies]
