"""Declares each of a model's weights once: how a kernel reads it, and which checkpoint tensors it is made of.

A module keeps what ``WeightBuilder`` makes as attributes, whose path is the weight's name, in the bundle too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm.relax.frontend import nn

from mlcweb.debug import CHOICE, logger
from mlcweb.errors import UnsupportedError
from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.layouts.pieces import Matrix, SplitGateUp, SplitMatrix, pieces, rows_of_pieces
from mlcweb.kernels.layouts.quantized import GroupQuantized
from mlcweb.kernels.layouts.storage import Values, Vector, WholeMatrix, matrix
from mlcweb.quantize import Param, Part, Scheme

Order = npt.NDArray[np.int64]
_log = logger("models.weights")


@dataclass(frozen=True)
class Origin:
    """Where a weight comes from: the checkpoint's tensors with their shapes, or an array that is computed."""

    shape: tuple[int, ...]
    sources: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    quantized: bool = False
    block_order: bool = False
    order: Order | None = None
    transposed: bool = False
    plus: float = 0.0
    part: Part = "layers"
    computed: npt.NDArray[np.float32] | None = None

    def param(self, name: str) -> Param:
        """For the quantizer."""
        return Param(
            name,
            self.shape,
            tuple(self.sources),
            self.quantized,
            self.block_order,
            order=self.order,
            transposed=self.transposed,
            plus=self.plus,
            part=self.part,
        )


class WeightBuilder:
    """Makes weights as a scheme stores them and a tier reads them. ``sources`` are names, with the rows of each.

    ``part`` is what matrices are of that are no embedding and no head.
    """

    def __init__(self, scheme: Scheme, tier: Tier, part: Part = "layers") -> None:
        self.scheme, self.tier, self.part = scheme, tier, part

    def matrix(
        self,
        sources: Mapping[str, int],
        columns: int,
        *,
        quantized: bool = True,
        vocab: bool = False,
        order: Order | None = None,
        transposed: bool = False,
        whole: bool = False,
    ) -> Matrix:
        """A matrix ``[rows, columns]``: the sources ``[rows, columns]`` stacked, or ``[columns, rows]`` if
        ``transposed``, its rows in ``order``, which may leave some out. ``vocab``: an embedding or a head.

        It is in pieces where it is too large for a default binding, or its sources are stored in several ways;
        ``whole`` refuses the latter. Raises UnsupportedError.
        """
        alike = {"quantized": quantized, "vocab": vocab, "transposed": transposed}
        runs = self._runs(sources) if quantized else [sources]
        if len(runs) == 1:
            return self._alike(sources, columns, order=order, **alike)
        if whole:
            raise _needs_one_type(sources)
        parts: list[WholeMatrix] = []
        ranges: list[range] = []
        first = 0
        for run in runs:
            rows = sum(run.values())
            own = None if order is None else order[first : first + rows] - first
            if own is not None and not (own.min() >= 0 and own.max() < rows):
                raise _needs_one_type(sources)
            for part, piece in pieces(self._alike(run, columns, order=own, **alike)):
                at = first + (piece.first if piece else 0)
                parts.append(part)
                ranges.append(range(at, at + part.rows))
            first += rows
        _log.log(
            CHOICE,
            "tier %s: %s: %d pieces, since they are stored in several types",
            self.tier.name,
            list(sources),
            len(parts),
        )
        return SplitMatrix(parts, ranges, paired=False)

    def gated(self, sources: Mapping[str, int], columns: int) -> Matrix | SplitGateUp:
        """Gate over up, ``[rows, columns]`` each; ``SplitGateUp`` where they are stored in two ways."""
        runs = self._runs(sources)
        if len(runs) == 1:
            return self._alike(sources, columns, paired=True)
        _log.log(
            CHOICE,
            "tier %s: %s: a product each, since they are stored in two types",
            self.tier.name,
            list(sources),
        )
        return SplitGateUp(*(self._alike(run, columns) for run in runs))

    def _runs(self, sources: Mapping[str, int]) -> list[dict[str, int]]:
        """Neighbouring sources that are stored alike, together."""
        runs: list[dict[str, int]] = []
        last: Any = None
        for name, rows in sources.items():
            stored = self.scheme.stored(name)
            if not runs or stored != last:
                runs.append({})
            runs[-1][name] = rows
            last = stored
        return runs

    def _alike(
        self,
        sources: Mapping[str, int],
        columns: int,
        *,
        quantized: bool = True,
        vocab: bool = False,
        paired: bool = False,
        order: Order | None = None,
        transposed: bool = False,
    ) -> Matrix:
        """A matrix of sources that are stored alike; ``paired``: gate over up, and each piece is too."""
        rows = sum(sources.values()) if order is None else len(order)
        shapes = {name: (columns, n) if transposed else (n, columns) for name, n in sources.items()}
        part: Part = "vocab" if vocab else self.part
        whole = Origin((rows, columns), shapes, quantized, order=order, transposed=transposed, part=part)
        ranges = rows_of_pieces(whole.param(""), self.scheme, paired=paired)
        if len(ranges) == 1:
            return self._stored(whole)
        _log.log(
            CHOICE,
            "tier %s: %s: %d pieces, since one is over a binding's limit",
            self.tier.name,
            list(sources),
            len(ranges),
        )
        order = np.arange(rows) if order is None else order
        parts = []
        for piece in ranges:
            own = order[piece.start : piece.stop]
            if paired:
                own = np.concatenate([own, order[rows // 2 + piece.start : rows // 2 + piece.stop]])
            parts.append(self._stored(replace(whole, shape=(len(own), columns), order=own)))
        return SplitMatrix(parts, ranges, paired=paired)

    def _stored(self, whole: Origin) -> WholeMatrix:
        rows, columns = whole.shape
        made = matrix(rows, columns, whole.param("").stored(self.scheme), self.tier)
        made.origin = whole
        return made

    def vector(self, source: str, size: int, *, plus: float = 0.0) -> Vector:
        """A vector ``[size]`` in block order, such as a norm's weight; ``plus`` is added to it."""
        made = Vector(size, self.scheme.activation, self.tier)
        made.origin = Origin((size,), {source: (size,)}, block_order=True, plus=plus)
        return made

    def norm(self, source: str, size: int, *, bias: bool, plus: float = 0.0) -> tuple[Vector, Vector | None]:
        """A norm's weight, to which ``plus`` is added, and its bias, if it has one."""
        weight = self.vector(f"{source}.weight", size, plus=plus)
        return weight, self.vector(f"{source}.bias", size) if bias else None

    def row(
        self,
        sources: Mapping[str, tuple[int, ...]],
        *,
        order: Order | None = None,
        plus: float = 0.0,
        rows: int = 1,
    ) -> Values:
        """A vector in its own order, such as a bias, of 1-D sources one after the other; kernels read it as so many
        ``rows``."""
        size = sum(math.prod(shape) for shape in sources.values())
        made = Values((rows, size // rows), self.scheme.activation, self.tier)
        made.origin = Origin((size,), sources, order=order, plus=plus)
        return made

    def taps(self, source: str, columns: int, count: int) -> Values:
        """A depthwise convolution's taps ``[count, columns]``, of a source ``[columns, 1, count]``, which the
        compiler opens as ``[columns, count]`` (``sources.with_matrices``)."""
        made = Values((count, columns), self.scheme.activation, self.tier)
        made.origin = Origin((count, columns), {source: (columns, count)}, transposed=True)
        return made

    def computed(self, array: npt.NDArray[np.float32]) -> Values:
        """A float32 tensor ``[rows, columns]`` that no checkpoint has."""
        made = Values(array.shape, "float32", self.tier)
        made.origin = Origin(array.shape, computed=array)
        return made


def _needs_one_type(sources: Mapping[str, int]) -> UnsupportedError:
    return UnsupportedError(
        f"{', '.join(list(sources)[:4])} are of several types, and mlcweb needs them in one",
        hint="Requantize them: give --quant q4f16_1, for example.",
    )


def declared(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, WholeMatrix | Vector]]:
    """Every weight in a module with its name, in the order of declaration."""
    items = enumerate(module) if isinstance(module, nn.ModuleList) else vars(module).items()
    for name, value in items:
        if isinstance(value, (Values, Vector, GroupQuantized)):
            yield f"{prefix}{name}", value
        elif isinstance(value, nn.Module):
            yield from declared(value, f"{prefix}{name}.")


def origin(weight: Any) -> Origin:
    """Where a declared weight comes from."""
    declared_origin: Origin = weight.origin
    return declared_origin
