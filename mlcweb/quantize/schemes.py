"""Quantization schemes by name. Names and bits are MLC's, so that its users and files find what they know.

Its ``_0`` are ``_1`` transposed: the same codes and scales of the same groups. A bundle stores both in the rows that
the kernels read. q8 is not among MLC's group schemes: it is MLC's rule with 8 bits.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

from mlcweb.errors import UnsupportedError


@dataclass(frozen=True)
class Scheme:
    """How weights are stored, and the float type of everything else (activations, scales, norms).

    ``bits`` is None for the unquantized schemes (q0). Codes are symmetric around ``max_code`` (7 for 4
    bits), as many to a uint32 as fit whole, lowest bits first; a group of ``group_size`` weights along the
    input axis shares a scale. ``quantizes_vocab`` is whether the embedding and the head are quantized too.
    """

    name: str
    bits: int | None
    activation: Literal["float16", "float32"]
    group_size: int = 32
    quantizes_vocab: bool = True

    @property
    def max_code(self) -> int:
        """The largest magnitude a code stands for."""
        return (1 << ((self.bits or 0) - 1)) - 1

    @property
    def codes_per_word(self) -> int:
        """Codes in a uint32."""
        return 32 // (self.bits or 32)

    def quantizes(self, *, vocab: bool) -> bool:
        """Whether a matrix is quantized; ``vocab``: it has a row for each token of the vocabulary."""
        return self.bits is not None and (self.quantizes_vocab or not vocab)

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
        Scheme("q3f16_1", 3, "float16", group_size=40),
        Scheme("q3f32_1", 3, "float32", group_size=40),
        Scheme("q8f16_1", 8, "float16"),
        Scheme("q8f32_1", 8, "float32"),
        Scheme("q4f16_0", 4, "float16"),
        Scheme("q3f16_0", 3, "float16", group_size=40),
        Scheme("q4f16_2", 4, "float16", quantizes_vocab=False),
        Scheme("q4f32_2", 4, "float32", quantizes_vocab=False),
        Scheme("q0f16", None, "float16"),
        Scheme("q0f32", None, "float32"),
    )
}


def get_scheme(name: str) -> Scheme:
    """The scheme called ``name``. Raises UnsupportedError with the known names, nearest first."""
    if name not in SCHEMES:
        likeness = {known: difflib.SequenceMatcher(None, name.lower(), known).ratio() for known in SCHEMES}
        near = max(likeness, key=likeness.__getitem__)  # of equals the first, which is the usual one
        raise UnsupportedError(
            f"quantization {name!r} is not implemented; known: {', '.join(SCHEMES)}",
            hint=f"Did you mean {near}?"
            if likeness[near] >= 0.6
            else "q4f16_1 suits most models and devices.",
        )
    return SCHEMES[name]
