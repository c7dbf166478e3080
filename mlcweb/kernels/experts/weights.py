"""A mixture's experts as matrices: stacked by expert, in parts that a default WebGPU binding can hold."""

import itertools
from dataclasses import dataclass

from tvm.relax.frontend import nn

from mlcweb.kernels.layouts.pieces import MAX_BINDING_BYTES
from mlcweb.kernels.layouts.storage import WholeMatrix
from mlcweb.quantize import Param, Scheme, packed_tensors


@dataclass(frozen=True)
class Part:
    """Which experts a stacked matrix has: ``count`` from ``first``. A token has ``choices`` of all ``experts``."""

    first: int
    count: int
    experts: int
    choices: int


@dataclass(frozen=True)
class Chosen:
    """A decode product with the part's experts that the token chose; ``mixed``: it is their weighted sum, which
    ``in_place`` adds to what is there.
    """

    part: Part
    mixed: bool = False
    in_place: bool = False


def parts_of(experts: int, rows: int, columns: int, scheme: Scheme, source: str = "") -> list[range]:
    """The experts of each part, each a ``[rows, columns]`` matrix stored as ``source`` is: whole ones, as even in
    number as can be.

    An expert that is larger than a binding is a part of its own.
    """
    tensors = packed_tensors(Param("expert", (rows, columns), (source,), True), scheme)
    max_experts = max(1, MAX_BINDING_BYTES // max(tensor.nbytes for tensor in tensors))
    count = -(-experts // max_experts)
    bounds = [i * experts // count for i in range(count + 1)]
    return [range(*pair) for pair in itertools.pairwise(bounds)]


class Experts(nn.ModuleList):
    """A matrix ``[rows, columns]`` of each expert; item i is that of the experts ``held[i]``, one over the other."""

    def __init__(self, parts: list[WholeMatrix], held: list[range]) -> None:
        super().__init__(parts)
        self.held = held
        self.rows, self.columns = parts[0].rows // len(held[0]), parts[0].columns

    def parts(self, choices: int) -> list[tuple[Part, WholeMatrix]]:
        """Every part with its weight, for tokens that have ``choices`` experts."""
        experts = self.held[-1].stop
        return [
            (Part(held.start, len(held), experts, choices), weight)
            for held, weight in zip(self.held, self, strict=True)
        ]
