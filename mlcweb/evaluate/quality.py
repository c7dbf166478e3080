"""Runs the short evaluation that a compile ends with, and says what to do where its result is bad."""

from __future__ import annotations

from math import floor, log10

from mlcweb.bundle.manifest import Quality, same_share
from mlcweb.evaluate.lines import percent
from mlcweb.evaluate.metrics import Scores
from mlcweb.evaluate.predictor import HostPredictor
from mlcweb.evaluate.run import evaluate
from mlcweb.evaluate.text import excerpts, held_out, windows
from mlcweb.models import Decoder
from mlcweb.progress import Progress
from mlcweb.quantize import Scheme
from mlcweb.quantize.suited import better_scheme
from mlcweb.reference import ReferenceWeights
from mlcweb.reference.checkpoint_weights import CheckpointWeights
from mlcweb.reference.prompt import PromptRenderer
from mlcweb.sources import Checkpoint

# Below it a bundle answers noticeably otherwise than its source.
ENOUGH = 0.9
_DIGITS = 3
_LARGEST = 2**53 - 1
# Weights times tokens: what two cores do in a few seconds, twice.
_WORK = 1.2e11
_MIN_TOKENS, _MAX_TOKENS = 32, 160


def token_count(weights: int) -> int:
    """Tokens for a model of so many weights."""
    return int(max(_MIN_TOKENS, min(_MAX_TOKENS, _WORK / weights // 16 * 16)))


def measure_quality(
    checkpoint: Checkpoint,
    renderer: PromptRenderer,
    model: Decoder,
    weights: ReferenceWeights,
    source: Decoder,
    context: int,
    progress: Progress,
) -> Quality | None:
    """What the weights of a bundle keep of the checkpoint's predictions; None where ``context`` has no room for it.

    ``model`` and ``source`` are the decoder as each stores its weights. All text is one window, so that weights are
    read once; none of the checkpoint's are kept in memory.
    """
    text, prefix = renderer.text(held_out())
    length = min(context, token_count(model.weight_count) + len(prefix))
    if length < len(prefix) + 2:
        return None
    taken = windows(excerpts(text, length - len(prefix)), prefix, length)
    theirs, (scores,) = evaluate(
        [HostPredictor(model, weights, length, context)],
        taken,
        HostPredictor(source, CheckpointWeights(checkpoint, source.params()), length, context),
        progress,
    )
    assert theirs is not None
    return _rounded(scores, theirs)


def _rounded(scores: Scores, theirs: Scores) -> Quality:
    """To so few digits that another machine's arithmetic seldom shows: a bundle is to be the same bytes there."""
    assert scores.kl_mean is not None and scores.kl_p99 is not None and scores.same_tokens is not None
    return Quality(
        tokens=scores.tokens,
        same_tokens=scores.same_tokens,
        kl_micronats=_few_digits(scores.kl_mean * 1e6),
        kl_p99_micronats=_few_digits(scores.kl_p99 * 1e6),
        perplexity_thousandths=_few_digits(scores.perplexity * 1e3),
        source_perplexity_thousandths=_few_digits(theirs.perplexity * 1e3),
    )


def _few_digits(value: float) -> int:
    """The three leading digits, and none below ten."""
    if value >= _LARGEST:
        return _LARGEST
    power = max(1, floor(log10(value)) - _DIGITS + 1) if value > 1 else 1
    return int(round(value / 10**power) * 10**power)


def quality_warning(quality: Quality, scheme: Scheme, *, gguf: bool) -> str | None:
    """What to do about a bundle that is too far from its source."""
    if same_share(quality) >= ENOUGH:
        return None
    better = better_scheme(scheme, gguf=gguf)
    same = percent(same_share(quality))
    said = f"warning: {scheme.name} keeps {same} of the source's most likely tokens, less than 90 %"
    return f"{said}; --quant {better} keeps more" if better else said
