"""Perplexity, divergence and same tokens against independent formulas, and the windows of a text."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mlcweb.errors import SourceError, ValidationError
from mlcweb.evaluate import run as runner
from mlcweb.evaluate.lines import nats
from mlcweb.evaluate.metrics import Scorer
from mlcweb.evaluate.run import evaluate
from mlcweb.evaluate.text import EXCERPT, excerpts, held_out, read_text, windows
from mlcweb.progress import SilentProgress


class Fake:
    """Logits of its own beside those that all have in common, by the window's tokens so far."""

    def __init__(self, seed: int, vocab: int = 50) -> None:
        self.vocab, self._seed = vocab, seed
        self.fed: list[int] = []
        self.begun: list[tuple[int, ...]] = []

    def begin(self, tokens: tuple[int, ...]) -> None:
        self.fed = []
        self.begun.append(tokens)

    def feed(self, tokens: tuple[int, ...]) -> np.ndarray:
        return np.stack([self.after(tuple(self.fed)) for token in tokens if not self.fed.append(token)])

    def after(self, tokens: tuple[int, ...]) -> np.ndarray:
        common, own = (np.random.default_rng([seed, *tokens]) for seed in (0, self._seed))
        logits = 3 * common.standard_normal(self.vocab) + own.standard_normal(self.vocab)
        return logits.astype(np.float32)


class Counted(SilentProgress):
    def __init__(self) -> None:
        self.total, self.done, self.unit = 0, 0, ""

    def start(self, stage: str, total: int = 0, unit: str = "items") -> None:
        self.total, self.unit = total, unit

    def advance(self, amount: int) -> None:
        self.done += amount


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.longdouble) - logits.max())
    return powers / powers.sum()


@pytest.mark.parametrize("prefix", [(), (7,), (7, 8)])
@pytest.mark.parametrize("chunk", [3, 100])
def test_scores_are_those_of_the_formulas(
    prefix: tuple[int, ...], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every position of every window, in chunks that cut windows and prefixes, against a plain loop."""
    monkeypatch.setattr(runner, "chunk_tokens", lambda vocab: chunk)
    rng = np.random.default_rng(3)
    cut = windows([int(t) for t in rng.integers(0, 50, 41)], prefix, 16)
    model, source, progress = Fake(1), Fake(2), Counted()
    theirs, (scores,) = evaluate([model], cut, source, progress)
    losses, their_losses, divergences, same = [], [], [], 0
    for window in cut:
        for i in range(window.first, len(window.tokens)):
            p, q = (softmax(one.after(window.tokens[:i])) for one in (source, model))
            losses.append(-np.log(q[window.tokens[i]]))
            their_losses.append(-np.log(p[window.tokens[i]]))
            divergences.append((p * np.log(p / q)).sum())
            same += int(p.argmax() == q.argmax())
    assert scores.tokens == len(losses) == 41 - (0 if prefix else len(cut))
    assert scores.perplexity == pytest.approx(float(np.exp(np.mean(losses))), rel=1e-9)
    assert theirs is not None
    assert theirs.perplexity == pytest.approx(float(np.exp(np.mean(their_losses))), rel=1e-9)
    assert scores.kl_mean == pytest.approx(float(np.mean(divergences)), rel=1e-9)
    assert scores.kl_p99 == pytest.approx(float(np.percentile(divergences, 99)), rel=1e-9)
    assert scores.same_tokens == same and scores.same == same / scores.tokens
    assert 0 < same < scores.tokens
    assert model.begun == source.begun == [window.tokens for window in cut]
    assert (progress.unit, progress.done) == ("tokens", progress.total) and progress.total > 0


def test_a_model_against_itself_and_alone() -> None:
    cut = windows(list(range(30)), (), 16)
    theirs, scores = evaluate([Fake(1), Fake(1)], cut, Fake(1))
    assert theirs is not None
    assert [(s.kl_mean, s.kl_p99, s.same, s.perplexity) for s in scores] == [(0, 0, 1, theirs.perplexity)] * 2
    none, (alone,) = evaluate([Fake(1)], cut)
    assert none is None and alone.perplexity == theirs.perplexity
    assert alone.kl_mean is alone.kl_p99 is alone.same is alone.same_tokens is None


def test_far_and_near_logits_keep_their_precision() -> None:
    """Logits of 200 overflow float32's exp, and a divergence of 1e-9 drowns in float32's rounding."""
    other = np.array([[200.0, 0.0, -200.0]], np.float32)
    far = Scorer().score(-other, np.array([0]), other).divergences
    assert far is not None and far[0] == pytest.approx(400.0, rel=1e-6)
    close = np.array([[1.0, 2.0, 3.0]], np.float32)
    moved = close + np.array([[1e-4, 0, 0]], np.float32)
    p, q = softmax(close[0]), softmax(moved[0])
    (actual,) = Scorer().score(moved, np.array([0]), close).divergences
    assert actual == pytest.approx(float((p * np.log(p / q)).sum()), rel=1e-4) and 0 < actual < 1e-8


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_numbers_are_refused(bad: float) -> None:
    logits = np.zeros((2, 5), np.float32)
    broken = logits.copy()
    broken[1, 3] = bad
    with pytest.raises(ValidationError, match="not finite"):
        Scorer().score(broken, np.array([0, 0]))
    with pytest.raises(ValidationError, match="not finite"):
        Scorer().score(logits, np.array([0, 0]), broken)


def test_windows_have_every_token_once_after_the_prefix() -> None:
    tokens = list(range(100, 130))
    cut = windows(tokens, (1,), 8)
    assert [token for window in cut for token in window.tokens[1:]] == tokens
    assert all(window.tokens[0] == 1 and window.first == 1 and len(window.tokens) <= 8 for window in cut)
    assert sum(window.predicted for window in cut) == 30
    plain = windows(tokens, (), 8)
    assert [token for window in plain for token in window.tokens] == tokens
    assert sum(window.predicted for window in plain) == 30 - 4
    assert windows([5], (), 8) == []
    assert [w.tokens for w in windows(list(range(9)), (), 8)] == [tuple(range(8))], (
        "the ninth has nothing before it"
    )
    for prefix, length in (((), 1), ((1,), 1), ((1, 2), 2)):
        with pytest.raises(ValueError, match="no room"):
            windows(tokens, prefix, length)
    assert len(windows(tokens, (1,), 2)) == 30


@pytest.mark.parametrize("count", [2, 63, 64, 65, 200, 999])
def test_excerpts_are_from_all_over_the_text(count: int) -> None:
    tokens = list(range(1000))
    taken = excerpts(tokens, count)
    assert len(taken) == count and taken == sorted(set(taken))
    breaks = sum(b != a + 1 for a, b in pairwise(taken))
    assert breaks <= -(-count // EXCERPT) - 1
    if count >= 2 * EXCERPT:
        assert taken[-1] > 1000 * (1 - EXCERPT / count) - EXCERPT
    assert excerpts(tokens, 1000) == excerpts(tokens, 5000) == tokens


def test_the_held_out_text_is_varied() -> None:
    text = held_out()
    assert 12_000 <= len(text.encode()) <= 16_000 and text.count("\n---\n") >= 20
    for sign in ("def ", "SELECT", '"sku"', "ß", "ñ", "雨", "の", "ж", "ق", "ã"):
        assert sign in text


def test_texts_that_cannot_be_judged_on(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    for data, message in (
        (b"ab\xff", "not UTF-8 at byte 2"),
        (b" \n", "holds no text"),
        (b"", "holds no text"),
    ):
        file.write_bytes(data)
        with pytest.raises(SourceError, match=message):
            read_text(file)
    with pytest.raises(SourceError, match="cannot be read"):
        read_text(tmp_path / "absent.txt")
    file.write_text("straße", encoding="utf-8")
    assert read_text(file) == "straße"


def test_divergences_as_they_are_told() -> None:
    assert [nats(x) for x in (0.52941, 12.345, 0.00012345, 3.2e-7, 0.0)] == [
        "0.529",
        "12.3",
        "0.000123",
        "3e-07",
        "0",
    ]
