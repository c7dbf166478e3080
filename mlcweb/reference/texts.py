"""Runs a model of whole texts on the host, and computes what a bundle's outputs are checked against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlcweb.contract.constants import Pooling
from mlcweb.errors import ValidationError
from mlcweb.kernels.layouts.pieces import Matrix
from mlcweb.kernels.layouts.storage import Values, WholeMatrix
from mlcweb.models import Decoder
from mlcweb.reference.ops import HostOps
from mlcweb.reference.weights import ReferenceWeights

F32 = npt.NDArray[np.float32]

# The largest |difference| / |embedding| that correct kernels make, or of scores over the range of all, by the least
# precise type of their sums' terms.
TOLERANCE = {"float32": 1e-3, "float16": 2e-2, "int8": 5e-2}
_DECIMALS = 5


@dataclass(frozen=True)
class TokenizedText:
    """A text's tokens, special ones too, and their types; None where all are 0."""

    tokens: Sequence[int]
    kinds: Sequence[int] | None = None


class HostTextOps(HostOps):
    """``TextOperations`` of one text."""

    kinds: Sequence[int] | None = None

    def embed(
        self,
        table: Matrix,
        *,
        name: str = "embed",
        scale: float = 1.0,
        positions: WholeMatrix | None = None,
        rows: bool = False,
        images: bool = False,
        kinds: WholeMatrix | None = None,
    ) -> F32:
        x_TD = super().embed(table, scale=scale, positions=positions)
        if kinds is None:
            return x_TD
        by_kind = self._weights.rows(self._names[id(kinds)], 0, kinds.rows)
        typed: F32 = x_TD + by_kind[list(self.kinds or [0] * len(self.tokens))]
        return typed

    def pool(self, x: F32, pooling: Pooling) -> F32:
        if pooling == "mean":
            mean: F32 = x.mean(axis=0, keepdims=True)
            return mean
        return x[:1] if pooling == "cls" else x[-1:]

    def unit(self, x: F32) -> F32:
        length = np.sqrt(np.square(x).sum(axis=1, keepdims=True))
        made: F32 = x / np.maximum(length, np.float32(1e-12))
        return made

    def score(self, x: F32, weight: WholeMatrix, bias: Values | None) -> F32:
        rows = self._weights.rows(self._names[id(weight)], 0, weight.rows)[:, : weight.columns]
        row = rows[-1] - rows[0] if weight.rows == 2 else rows[0]
        y: F32 = (x @ row)[:, None]
        return y if bias is None else y + self._vector(bias)


class HostTexts:
    """A model of whole texts of at most ``context`` tokens, float32 throughout."""

    def __init__(
        self, model: Decoder, weights: ReferenceWeights, context: int, threads: int | None = None
    ) -> None:
        self._model, self._context = model, context
        self._ops = HostTextOps(model, weights, context, context, threads)

    def output(self, text: TokenizedText, *, int8: bool = False) -> F32:
        """The text's embedding ``[dimensions]``, or its score ``[1]``. ``int8``: products take activations that are
        rounded, as on the CPU's tier.

        Raises ValueError for no tokens, more than the context or ids outside the vocabulary.
        """
        count, vocabulary = len(text.tokens), self._model.config.vocab_size
        if not 0 < count <= self._context:
            raise ValueError(f"a text of {count} tokens, of at most {self._context}")
        if not all(0 <= token < vocabulary for token in text.tokens):
            raise ValueError(f"a token id outside the vocabulary of {vocabulary}")
        self._ops.tokens, self._ops.kinds, self._ops.int8 = text.tokens, text.kinds, int8
        output: F32 = self._model.forward(self._ops)[0]
        return output


def make_text_validation(
    model: HostTexts,
    texts: Sequence[tuple[str, str | None]],
    tokenized: Sequence[TokenizedText],
    tolerance: Mapping[str, float] = TOLERANCE,
) -> dict[str, Any]:
    """The content of ``validation.<hash>.json`` of a model of whole texts: texts, or queries with documents.

    Raises ValidationError where an output is not finite.
    """
    checked = []
    for (text, document), tokens in zip(texts, tokenized, strict=True):
        output = model.output(tokens)
        if not np.isfinite(output).all():
            raise ValidationError(
                f"the host reference's output for {text!r:.60} is not finite",
                hint="The checkpoint is damaged, or a scale overflows float16: try a float32 quantization.",
            )
        made: dict[str, Any] = {"text": text}
        if document is not None:
            made["document"] = document
        made["tokens"] = [int(token) for token in tokens.tokens]
        made["output"] = [round(float(value), _DECIMALS) for value in output]
        checked.append(made)
    return {"texts": checked, "tolerance": dict(tolerance)}


def int8_difference_of_texts(
    model: HostTexts, tokenized: Sequence[TokenizedText], validation: Mapping[str, Any]
) -> float:
    """How far rounding activations to int8 moves a validation's outputs, as the engine measures it."""
    outputs = [np.array(item["output"], np.float32) for item in validation["texts"]]
    moved = [
        model.output(tokens, int8=True) - output for tokens, output in zip(tokenized, outputs, strict=True)
    ]
    if len(outputs[0]) > 1:
        lengths = [float(np.linalg.norm(output)) or 1.0 for output in outputs]
    else:
        scores = np.concatenate(outputs)
        lengths = [float(scores.max() - scores.min()) or 1.0] * len(outputs)
    return max(float(np.linalg.norm(d)) / length for d, length in zip(moved, lengths, strict=True))
