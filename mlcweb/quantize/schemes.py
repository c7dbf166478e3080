"""Lists the quantization schemes: each is a row of data, and the compiler asks the row (docs/add-a-quantization.md).

Names and bits are MLC's, so that its users and files find what they know. Its ``_0`` are ``_1`` transposed: the same
codes and scales of the same groups. A bundle stores both in the rows that the kernels read. q8 is not among MLC's
group schemes: it is MLC's rule with 8 bits, and ``_e8`` is ``_1`` with 8 bits for embedding and head. ``gguf`` keeps
what a GGUF file has.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from mlcweb.errors import UnsupportedError
from mlcweb.quantize.formats import GGUF_FORMATS, STEP, FloatType, Format, mlc_format

Part = Literal["layers", "vocab", "tower"]  # of a model; vocab: an embedding or a head
Stored = Format | str  # how a matrix is stored: in a format, or as floats of a type


def stored_type(kind: str) -> Stored:
    """How a tensor of a GGUF type is stored."""
    return {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}.get(kind) or GGUF_FORMATS[kind]


@dataclass(frozen=True)
class Scheme:
    """How weights are stored, and the float type of everything else (activations, norms).

    ``layers`` is how the layers' matrices are stored; ``vocab`` is how the embedding and the head are, where that is
    another. ``types`` has GGUF's type of each of the checkpoint's tensors, for the scheme that keeps them.
    A tower is stored in 8 bits where the layers are in fewer: what it sees is wrong in all that is said of it.
    """

    name: str
    activation: FloatType
    layers: Stored
    vocab: Stored | None = None
    types: Mapping[str, str] | None = None

    @property
    def as_it_is(self) -> bool:
        """Whether a tensor is stored in the type that the GGUF file has it in."""
        return self.types is not None

    @property
    def float16(self) -> bool:
        """Whether tiers that compute in float16 serve it: where it says so, or the file does not say."""
        return self.activation == "float16" or self.as_it_is

    @property
    def quantizes(self) -> bool:
        """Whether it rounds floats to codes itself, and so has scales to choose."""
        return isinstance(self.layers, Format)

    @property
    def searched(self) -> bool:
        """Whether its scales can be calibrated."""
        return any(form.searched for form in self.formats)

    @property
    def fits_tiles(self) -> bool:
        """Whether it has codes, and prefill's products of int8 and on subgroup matrices take them: their tiles are 32
        deep, and hold whole groups or lie in one.
        """
        return bool(self.formats) and all(form.step == STEP for form in self.formats)

    @property
    def tower(self) -> Stored:
        """How a tower's matrices are stored."""
        layers = self.layers
        return mlc_format((8,), self.activation, group=layers.group) if isinstance(layers, Format) else layers

    @property
    def formats(self) -> tuple[Format, ...]:
        """The formats that its matrices may be in."""
        own = [self.layers, self.vocab, self.tower]
        stored = own if self.types is None else map(stored_type, self.types.values())
        return tuple(dict.fromkeys(one for one in stored if isinstance(one, Format)))

    def stored(self, source: str, part: Part = "layers") -> Stored:
        """How a matrix of the checkpoint is stored that is to be quantized: a format, or a type of floats."""
        if self.types is not None:
            return stored_type(self.types.get(source, "F32"))
        if part == "tower":
            return self.tower
        return self.vocab if part == "vocab" and self.vocab is not None else self.layers

    @property
    def format(self) -> Format:
        """Of all but embedding and head, for the schemes that have one. Raises ValueError for the others."""
        if not isinstance(self.layers, Format):
            raise ValueError(f"{self.name} does not quantize")
        return self.layers


AS_IT_IS = "gguf"

ROWS = (
    Scheme("q4f16_1", "float16", mlc_format((4,), "float16")),
    Scheme("q4f32_1", "float32", mlc_format((4,), "float32")),
    Scheme("q4f16_e8", "float16", mlc_format((4,), "float16"), vocab=mlc_format((8,), "float16")),
    Scheme("q4f32_e8", "float32", mlc_format((4,), "float32"), vocab=mlc_format((8,), "float32")),
    Scheme("q3f16_1", "float16", mlc_format((3,), "float16", group=40)),
    Scheme("q3f32_1", "float32", mlc_format((3,), "float32", group=40)),
    Scheme("q8f16_1", "float16", mlc_format((8,), "float16")),
    Scheme("q8f32_1", "float32", mlc_format((8,), "float32")),
    Scheme("q4f16_0", "float16", mlc_format((4,), "float16")),
    Scheme("q3f16_0", "float16", mlc_format((3,), "float16", group=40)),
    Scheme("q4f16_2", "float16", mlc_format((4,), "float16"), vocab="float16"),
    Scheme("q4f32_2", "float32", mlc_format((4,), "float32"), vocab="float32"),
    Scheme("q0f16", "float16", "float16"),
    Scheme("q0f32", "float32", "float32"),
    Scheme(AS_IT_IS, "float32", "float32", types={}),
)
SCHEMES = {scheme.name: scheme for scheme in ROWS}
LARGEST_GROUP = max(form.group for scheme in SCHEMES.values() for form in scheme.formats)


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
