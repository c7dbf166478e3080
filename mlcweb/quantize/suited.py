"""Suggests a scheme for a model, and a finer one, by what docs/quality.md measured."""

from __future__ import annotations

from mlcweb.numbers import count
from mlcweb.quantize.formats import Format
from mlcweb.quantize.schemes import AS_IT_IS, SCHEMES, Scheme, Stored

_SMALL = 500_000_000  # weights
# From coarse to fine, for activations of each type.
_FINER = {"float16": ("q8f16_1", "q0f16", "q0f32"), "float32": ("q8f32_1", "q0f32")}


def suited(parameters: int, *, texts: bool = False) -> tuple[str, str]:
    """The scheme's name for a model of floats with so many weights, and why in a few words.

    ``texts``: it makes embeddings or scores, which nobody samples from: 4 bits turn them by a fifth of a right angle.
    """
    if texts:
        return "q8f16_1", "embeddings and scores keep their order in 8 bits, and lose much of it in 4"
    if parameters < _SMALL:
        return "q8f16_1", f"a model of {count(parameters)} weights says other things in 4 bits"
    return "q4f16_e8", "4 bits, and 8 for the embedding and head, whose rounding hurts most"


def better_scheme(scheme: Scheme, *, gguf: bool) -> str | None:
    """A scheme that keeps more of the source's predictions, ``gguf`` being the source; None where there is none."""
    if scheme.as_it_is:
        return None
    if gguf:
        return AS_IT_IS
    finer = (name for name in _FINER[scheme.activation] if _bits(SCHEMES[name].layers) > _bits(scheme.layers))
    return next(finer, None)


def _bits(stored: Stored) -> int:
    """Of a code, or of a float."""
    return stored.bits if isinstance(stored, Format) else {"float16": 16, "float32": 32}[stored]
