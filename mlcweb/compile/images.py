"""Says how pictures are prepared for a model that sees, and checks that its parts agree."""

from __future__ import annotations

from typing import Any

from mlcweb.bundle import ImageFacts
from mlcweb.contract.manifest import PixelRange
from mlcweb.contract.pictures import words_of
from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.models import Decoder
from mlcweb.models.parts.vision_picture import PictureConfig, PictureRows, most_rows
from mlcweb.reference.prompt import PromptRenderer
from mlcweb.reference.validation import picture_check
from mlcweb.reference.weights import ReferenceWeights
from mlcweb.sources import Checkpoint
from mlcweb.sources.preprocessor import Whole

_HINT = "Use the preprocessor_config.json that was published with these weights."


def image_facts(
    checkpoint: Checkpoint, model: Decoder, renderer: PromptRenderer, context: int, chunk: int
) -> ImageFacts:
    """What the manifest says of the model's pictures, in a context of so many tokens; ``chunk`` is prefill's.

    Raises CheckpointError where preprocessor, tower and tokenizer do not fit one another, UnsupportedError where a
    chunk has no room for a picture whose rows see one another.
    """
    prepared, words, seen = checkpoint.preprocessor, model.image_words, model.images
    assert prepared is not None and words is not None and seen is not None, "a model that sees has all"
    vision, tile, pixels = seen.config, None, None
    if isinstance(seen, PictureRows):
        pixels = _pixels(prepared.whole, seen.config, context)
    else:
        tile = seen.config.tile
        _check(prepared.tile == tile, f"makes tiles of {prepared.tile} pixels, and the tower sees {tile}")
    if seen.together and chunk < seen.rows:
        raise UnsupportedError(
            f"a prefill chunk of {chunk} tokens has no room for a picture, whose {seen.rows} rows see one another",
            hint=f"Give --prefill-chunk and --context of more than {seen.rows}, or --no-images.",
        )
    for text in (words.token, words.row):
        if not renderer.has_token(text):
            raise CheckpointError(f"the tokenizer has no token {text}, which stands for a picture's rows")
    return ImageFacts(
        tile=tile,
        pixels=pixels,
        patch=vision.patch,
        merge=vision.merge,
        resample=prepared.resample,
        longest_edge=prepared.longest_edge,
        mean=prepared.mean,
        std=prepared.std,
        token=words.token,
        row=words.row,
        prompt=words.prompt,
        together=seen.together or None,
        added=seen.added or None,
        window=seen.window,
    )


def _pixels(whole: Whole | None, vision: PictureConfig, context: int) -> PixelRange:
    """How many pixels a picture may have: no more than there are patches for."""
    if whole is None:
        raise CheckpointError(
            "the preprocessor says no patch_size and merge_size, and the tower sees pictures of any shape",
            hint=_HINT,
        )
    sides = (whole.patch, whole.merge)
    _check(
        sides == (vision.patch, vision.merge),
        f"makes patches of {whole.patch} pixels and merges {whole.merge} x {whole.merge}, and the tower has "
        f"{vision.patch} and {vision.merge}",
    )
    most = most_rows(context) * (vision.merge * vision.patch) ** 2
    return PixelRange(least=min(whole.least, most), most=min(whole.most, most))


def _check(fits: bool, what: str) -> None:
    if not fits:
        raise CheckpointError(f"the preprocessor {what}", hint=_HINT)


def check_of_picture(
    facts: ImageFacts,
    model: Decoder,
    weights: ReferenceWeights,
    renderer: PromptRenderer,
    prompt: str,
    context: int,
) -> dict[str, Any] | None:
    """For the bundle's validation: a question about a picture. None where the context has no room for one."""
    row = renderer.token(facts.row)
    assert row is not None, "image_facts has checked it"
    content = [{"type": "image"}, {"type": "text", "text": prompt}]
    text = renderer.template.render([{"role": "user", "content": content}])
    tokens = renderer.encode(text.replace(facts.token, words_of(facts)))
    if len(tokens) >= context:
        return None
    return picture_check(weights, model, facts, context, tokens, row)
