"""Quantization schemes by name. Names and bits are MLC's, so that its users and files find what they know."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

from mlcweb.errors import UnsupportedError


@dataclass(frozen=True)
class Scheme:
    """How weights are stored, and the float type of everything else (activations, scales, norms).

    ``bits`` is None for the unquantized schemes (q0). Codes are symmetric around ``max_code`` (7 for 4
    bits), eight to a uint32, lowest nibble first; a group of ``group_size`` weights along the input axis
    shares a scale.
    """

    name: str
    bits: int | None
    activation: Literal["float16", "float32"]
    group_size: int = 32

    @property
    def max_code(self) -> int:
        """The largest magnitude a code stands for."""
        return (1 << ((self.bits or 0) - 1)) - 1

    @property
    def codes_per_word(self) -> int:
        """Codes in a uint32."""
        return 32 // (self.bits or 32)

    def groups(self, k: int) -> int:
        """Groups, and so scales, in a row of ``k`` weights; the last may be partly padding."""
        return -(-k // self.group_size)

    def words(self, k: int) -> int:
        """uint32 words in a row of ``k`` weights: whole groups, padding included."""
        return self.groups(k) * self.group_size // self.codes_per_word


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme("q4f16_1", 4, "float16"),
        Scheme("q4f32_1", 4, "float32"),
        Scheme("q0f16", None, "float16"),
        Scheme("q0f32", None, "float32"),
    )
}


def get_scheme(name: str) -> Scheme:
    """The scheme called ``name``. Raises UnsupportedError with the known names, nearest first."""
    if name not in SCHEMES:
        near = difflib.get_close_matches(name.lower(), SCHEMES, n=1)
        raise UnsupportedError(
            f"quantization {name!r} is not implemented; known: {', '.join(SCHEMES)}",
            hint=f"Did you mean {near[0]}?" if near else "q4f16_1 suits most models and devices.",
        )
    return SCHEMES[name]
