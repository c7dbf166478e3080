"""Declares a model's weights, once: what a kernel reads, and what it is made of in the checkpoint.

A module keeps what ``Weights`` makes as attributes, whose path is the weight's name, in the bundle too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm.relax.frontend import nn

from mlcweb.kernels.storage import GroupQuantized, Matrix, Values, Vector, matrix
from mlcweb.kernels.tier import Tier
from mlcweb.quantize import Param, Scheme

Order = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Origin:
    """Where a weight comes from: the checkpoint's tensors with their shapes, or an array that is computed."""

    shape: tuple[int, ...]
    sources: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    quantized: bool = False
    blocks: bool = False
    order: Order | None = None
    transposed: bool = False
    plus: float = 0.0
    vocab: bool = False
    computed: npt.NDArray[np.float32] | None = None

    def param(self, name: str) -> Param:
        """For the quantizer."""
        return Param(
            name,
            self.shape,
            tuple(self.sources),
            self.quantized,
            self.blocks,
            order=self.order,
            transposed=self.transposed,
            plus=self.plus,
            vocab=self.vocab,
        )


class Weights:
    """Makes weights as a scheme stores them and a tier reads them. ``sources`` are names, with the rows of each."""

    def __init__(self, scheme: Scheme, tier: Tier) -> None:
        self.scheme, self.tier = scheme, tier

    def matrix(
        self,
        sources: Mapping[str, int],
        columns: int,
        *,
        quantized: bool = True,
        vocab: bool = False,
        order: Order | None = None,
        transposed: bool = False,
    ) -> Matrix:
        """A matrix ``[rows, columns]``: the sources ``[rows, columns]`` stacked, or ``[columns, rows]`` if
        ``transposed``, its rows in ``order``. ``vocab``: an embedding or a head.
        """
        rows = sum(sources.values())
        made = matrix(rows, columns, self.scheme, self.tier, quantized=quantized, vocab=vocab)
        shapes = {name: (columns, n) if transposed else (n, columns) for name, n in sources.items()}
        made.origin = _Origin(
            (rows, columns), shapes, quantized, order=order, transposed=transposed, vocab=vocab
        )
        return made

    def vector(self, source: str, size: int, *, plus: float = 0.0) -> Vector:
        """A vector ``[size]`` in block order, such as a norm's weight; ``plus`` is added to it."""
        made = Vector(size, self.scheme.activation, self.tier)
        made.origin = _Origin((size,), {source: (size,)}, blocks=True, plus=plus)
        return made

    def row(
        self, sources: Mapping[str, tuple[int, ...]], *, order: Order | None = None, plus: float = 0.0
    ) -> Values:
        """A vector in its own order, such as a bias, of 1-D sources one after the other."""
        size = sum(math.prod(shape) for shape in sources.values())
        made = Values((1, size), self.scheme.activation, self.tier)
        made.origin = _Origin((size,), sources, order=order, plus=plus)
        return made

    def computed(self, array: npt.NDArray[np.float32]) -> Values:
        """A float32 tensor ``[rows, columns]`` that no checkpoint has."""
        made = Values(array.shape, "float32", self.tier)
        made.origin = _Origin(array.shape, computed=array)
        return made


def declared(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, Matrix | Vector]]:
    """Every weight in a module with its name, in the order of declaration."""
    items = enumerate(module) if isinstance(module, nn.ModuleList) else vars(module).items()
    for name, value in items:
        if isinstance(value, (Values, Vector, GroupQuantized)):
            yield f"{prefix}{name}", value
        elif isinstance(value, nn.Module):
            yield from declared(value, f"{prefix}{name}.")


def origin(weight: Any) -> _Origin:
    """Where a declared weight comes from."""
    found: _Origin = weight.origin
    return found
