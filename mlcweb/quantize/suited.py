"""Which scheme is taken where none is asked for, by what docs/quality.md measured."""

from __future__ import annotations

from mlcweb.numbers import count

_SMALL = 500_000_000  # weights


def suited(parameters: int) -> tuple[str, str]:
    """The scheme's name for a model of floats with so many weights, and why in a few words."""
    if parameters < _SMALL:
        return "q8f16_1", f"a model of {count(parameters)} weights says other things in 4 bits"
    return "q4f16_e8", "4 bits, and 8 for the embedding and head, whose rounding hurts most"
