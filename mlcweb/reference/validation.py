"""Computes what a bundle's answer is checked against: the reference's greedy tokens and largest logits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlcweb.contract.manifest import ImageFacts
from mlcweb.contract.pictures import axes_of, patches_of, rows_of, sample_picture, sample_size
from mlcweb.errors import ValidationError
from mlcweb.models import Decoder
from mlcweb.progress import Progress, SilentProgress
from mlcweb.reference.images import HostImages
from mlcweb.reference.model import HostModel
from mlcweb.reference.weights import ReferenceWeights

TOP = 8

# The largest |difference| / range of a step's logits that a correct kernel makes, by what prefill computes with.
TOLERANCE = {"float32": 1e-3, "float16": 2e-2, "int8": 5e-2, "matrix": 2e-2}

# Far below the tolerance, and well above what another BLAS makes of the same sum, so that compiles on two
# machines nearly always give the same bytes.
_DECIMALS = 4


def make_validation(
    weights: ReferenceWeights,
    model: Decoder,
    context: int,
    tokens: Sequence[int],
    steps: int,
    *,
    prompt: str = "",
    eos_token_ids: Collection[int] = (),
    decode: Callable[[list[int]], str] | None = None,
    chats: Sequence[Mapping[str, Any]] = (),
    picture: Mapping[str, Any] | None = None,
    tolerance: Mapping[str, float] = TOLERANCE,
    progress: Progress | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """The content of ``validation.<hash>.json`` (docs/bundle-format.md): at most ``steps`` greedy tokens.

    ``tokens`` is the rendered prompt, ``context`` what the model is compiled for; an eos id is the last greedy token.
    ``decode`` makes the answer's text from ids without the eos; ``chats`` are ``make_chats``'s, and ``picture`` is
    ``picture_check``'s. Progress is in tokens.
    Raises ValidationError when logits are not finite or all the same, ValueError for no tokens, no steps or too many.
    """
    if steps < 1 or len(tokens) + steps > context:
        raise ValueError(f"{len(tokens)} tokens and {steps} steps in a context of {context}")
    progress = progress or SilentProgress()
    progress.start("reference", len(tokens) + steps - 1, "items")
    host = HostModel(model, weights, len(tokens) + steps, context, threads)
    greedy: list[int] = []
    recorded: list[dict[str, Any]] = []
    logits = host.feed(tokens)
    progress.advance(len(tokens))
    while True:
        recorded.append(_step(logits, len(greedy)))
        greedy.append(int(np.argmax(logits)))
        if len(greedy) == steps or greedy[-1] in eos_token_ids:
            break
        logits = host.feed(greedy[-1:])
        progress.advance(1)
    result: dict[str, Any] = {"prompt": prompt, "tokens": [int(token) for token in tokens], "greedy": greedy}
    if decode is not None:
        result["answer"] = decode([token for token in greedy if token not in eos_token_ids])
    if chats:
        result["chats"] = list(chats)
    if picture:
        result["picture"] = picture
    return {**result, "steps": recorded, "tolerance": dict(tolerance)}


def picture_check(
    weights: ReferenceWeights,
    model: Decoder,
    facts: ImageFacts,
    context: int,
    tokens: Sequence[int],
    row: int,
    threads: int | None = None,
) -> dict[str, Any]:
    """The logits after a prompt with the sample picture, in whose tokens ``row`` stands for each of its rows."""
    size = sample_size(facts)
    shape = None if facts.pixels is None else (size[0] // facts.patch, size[1] // facts.patch)
    rows = HostImages(model, weights, threads).rows(patches_of(sample_picture(size), facts), shape)
    places = np.array(tokens) == row
    seen = np.zeros((len(tokens), rows.shape[1]), np.float32)
    seen[places] = rows
    host = HostModel(model, weights, len(tokens), context, threads)
    axes = None if facts.pixels is None else axes_of(tokens, row, [rows_of(size, facts)])
    logits = host.feed(np.where(places, -1, tokens).tolist(), seen, axes)
    return {"tokens": [int(token) for token in tokens], "row": row, "step": _step(logits, 0)}


def int8_difference(
    weights: ReferenceWeights,
    model: Decoder,
    context: int,
    validation: Mapping[str, Any],
    threads: int | None = None,
    *,
    everywhere: bool = False,
) -> float:
    """How far rounding a prefill's activations to int8 moves a validation's top logits, at any step, in parts of the
    step's range: what a device finds with ``activations: "int8"``. ``everywhere``: those of decode and of the head are
    rounded too, as on the CPU's tier.
    """
    tokens, greedy = validation["tokens"], validation["greedy"]
    host = HostModel(model, weights, len(tokens) + len(greedy), context, threads)
    logits = [host.feed(tokens, int8=True, int8_head=everywhere)]
    if len(greedy) > 1:  # the steps after it read the keys and values that it left
        logits += list(host.feed_each(greedy[:-1], int8=everywhere, int8_head=everywhere))
    differences: list[float] = [
        abs(float(row[token]) - logit) / step["range"]
        for row, step in zip(logits, validation["steps"], strict=True)
        for token, logit in step["top"]
    ]
    return max(differences)


def _step(logits: npt.NDArray[np.float32], index: int) -> dict[str, Any]:
    if not np.isfinite(logits).all():
        raise ValidationError(
            f"the host reference's logits at step {index} are not finite",
            hint="The checkpoint is damaged, or a scale overflows float16: try a float32 quantization.",
        )
    spread = round(float(logits.max() - logits.min()), _DECIMALS)
    if spread == 0:
        raise ValidationError(
            f"the host reference's logits at step {index} are all the same",
            hint="The checkpoint is damaged, or config.json belongs to another model.",
        )
    # A stable sort keeps equal logits in the order of their ids, as argmax does.
    top = np.argsort(-logits, kind="stable")[:TOP]
    return {
        "top": [[int(token), round(float(logits[token]), _DECIMALS)] for token in top],
        "range": spread,
    }
