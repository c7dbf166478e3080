"""Quantization schemes by name. Names and bits are MLC's, so that its users and files find what they know.

Its ``_0`` are ``_1`` transposed: the same codes and scales of the same groups. A bundle stores both in the rows that
the kernels read. q8 is not among MLC's group schemes: it is MLC's rule with 8 bits, and ``_e8`` is ``_1`` with 8 bits
for embedding and head. ``gguf`` keeps what a GGUF file has.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from mlcweb.errors import UnsupportedError
from mlcweb.quantize.formats import GGUF_FORMATS, Format, mlc_format

Activation = Literal["float16", "float32"]
Stored = Format | str  # how a matrix is stored: in a format, or as floats of a type


def stored_type(kind: str) -> Stored:
    """How a tensor of a GGUF type is stored."""
    return {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}.get(kind) or GGUF_FORMATS[kind]


@dataclass(frozen=True)
class Scheme:
    """How weights are stored, and the float type of everything else (activations, scales, norms).

    ``bits`` is None for the unquantized schemes (q0). A group of ``group_size`` weights along the input axis shares a
    scale (``format``). ``vocab_bits`` are those of the embedding and the head; None leaves them as they are.
    ``types`` has GGUF's type of each of the checkpoint's tensors, for the scheme that keeps them.
    """

    name: str
    bits: int | None
    activation: Activation
    group_size: int = 32
    vocab_bits: int | None = None
    types: Mapping[str, str] | None = None

    @property
    def as_it_is(self) -> bool:
        """Whether a tensor is stored in the type that the GGUF file has it in."""
        return self.types is not None

    @property
    def float16(self) -> bool:
        """Whether tiers that compute in float16 serve it: where it says so, or the file does not say."""
        return self.activation == "float16" or self.as_it_is

    def stored(self, source: str, *, vocab: bool = False) -> Stored:
        """How a matrix of the checkpoint is stored that is to be quantized: a format, or a type of floats.

        ``vocab``: it has a row for each token of the vocabulary.
        """
        if self.types is not None:
            return stored_type(self.types.get(source, "F32"))
        bits = self.vocab_bits if vocab else self.bits
        return self.activation if bits is None else mlc_format(bits, self.group_size, self.activation)

    @property
    def format(self) -> Format:
        """Of all but embedding and head, for the schemes that have one. Raises ValueError for the others."""
        if self.bits is None:
            raise ValueError(f"{self.name} does not quantize")
        return mlc_format(self.bits, self.group_size, self.activation)


def _mlc(
    name: str, bits: int, activation: Activation, vocab_bits: int | None, group_size: int = 32
) -> Scheme:
    return Scheme(name, bits, activation, group_size, vocab_bits)


AS_IT_IS = "gguf"

SCHEMES = {
    scheme.name: scheme
    for scheme in (
        _mlc("q4f16_1", 4, "float16", 4),
        _mlc("q4f32_1", 4, "float32", 4),
        _mlc("q4f16_e8", 4, "float16", 8),
        _mlc("q4f32_e8", 4, "float32", 8),
        _mlc("q3f16_1", 3, "float16", 3, 40),
        _mlc("q3f32_1", 3, "float32", 3, 40),
        _mlc("q8f16_1", 8, "float16", 8),
        _mlc("q8f32_1", 8, "float32", 8),
        _mlc("q4f16_0", 4, "float16", 4),
        _mlc("q3f16_0", 3, "float16", 3, 40),
        _mlc("q4f16_2", 4, "float16", None),
        _mlc("q4f32_2", 4, "float32", None),
        Scheme("q0f16", None, "float16"),
        Scheme("q0f32", None, "float32"),
        Scheme(AS_IT_IS, None, "float32", types={}),
    )
}


def keep_types(types: Mapping[str, str]) -> Scheme:
    """The scheme that keeps GGUF's types, for a checkpoint whose tensors have these."""
    return replace(SCHEMES[AS_IT_IS], types=types)


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
