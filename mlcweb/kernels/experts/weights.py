"""Stacks experts' matrices, as many in a tensor as a default WebGPU binding can hold."""

import itertools
from dataclasses import dataclass

from tvm.relax.frontend import nn

from mlcweb.kernels.layouts.pieces import MAX_BINDING_BYTES
from mlcweb.kernels.layouts.storage import WholeMatrix
from mlcweb.quantize import Param, Scheme, packed_tensors


@dataclass(frozen=True)
class ExpertRange:
    """The experts that a stacked matrix has: ``count`` from ``first``, of ``total``; a token has
    ``experts_per_token``.
    """

    first: int
    count: int
    total: int
    experts_per_token: int


@dataclass(frozen=True)
class ChosenExperts:
    """A decode product with those experts of a range that the token chose; ``mixed``: it is their weighted sum, which
    ``in_place`` adds to what is there.
    """

    range: ExpertRange
    mixed: bool = False
    in_place: bool = False


def expert_ranges(experts: int, rows: int, columns: int, scheme: Scheme, source: str = "") -> list[range]:
    """The experts of each stacked matrix, as even in number as can be, for experts of ``[rows, columns]`` that are
    stored as ``source`` is.

    An expert that is larger than a binding is a range of its own.
    """
    tensors = packed_tensors(Param("expert", (rows, columns), (source,), True), scheme)
    max_experts = max(1, MAX_BINDING_BYTES // max(tensor.nbytes for tensor in tensors))
    count = -(-experts // max_experts)
    bounds = [i * experts // count for i in range(count + 1)]
    return [range(*pair) for pair in itertools.pairwise(bounds)]


class Experts(nn.ModuleList):
    """A matrix ``[rows, columns]`` of each expert; item i stacks those of the experts ``ranges[i]``."""

    def __init__(self, matrices: list[WholeMatrix], ranges: list[range]) -> None:
        super().__init__(matrices)
        self.ranges = ranges
        self.rows, self.columns = matrices[0].rows // len(ranges[0]), matrices[0].columns

    def by_range(self, experts_per_token: int) -> list[tuple[ExpertRange, WholeMatrix]]:
        """Every range with its stacked matrix, for tokens that have ``experts_per_token`` experts."""
        total = self.ranges[-1].stop
        return [
            (ExpertRange(experts.start, len(experts), total, experts_per_token), matrix)
            for experts, matrix in zip(self.ranges, self, strict=True)
        ]
