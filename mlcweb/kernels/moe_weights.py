"""A mixture's experts as matrices: stacked by expert, in parts that a default WebGPU binding can hold."""

import itertools
from dataclasses import dataclass

from tvm.relax.frontend import nn

from mlcweb.kernels.storage import Matrix, matrix
from mlcweb.kernels.tier import Tier
from mlcweb.quantize import Scheme

_MOST_WEIGHTS = 256 << 20  # of a part: 128 MiB of 4-bit codes; other schemes' parts may need a larger binding


@dataclass(frozen=True)
class Part:
    """Which experts a stacked matrix has: ``count`` from ``first``. A token has ``choices`` of all ``experts``."""

    first: int
    count: int
    experts: int
    choices: int


def parts_of(experts: int, rows: int, columns: int) -> list[range]:
    """The experts, each a ``[rows, columns]`` matrix, of each part: whole ones, as even in number as can be."""
    most = max(1, _MOST_WEIGHTS // (rows * columns))
    count = -(-experts // most)
    bounds = [i * experts // count for i in range(count + 1)]
    return [range(*pair) for pair in itertools.pairwise(bounds)]


class Experts(nn.ModuleList):
    """A matrix ``[rows, columns]`` of each expert. Part i, parameter ``<name>.i``, is ``[count * rows, columns]``."""

    def __init__(self, experts: int, rows: int, columns: int, scheme: Scheme, tier: Tier) -> None:
        self.experts, self.rows, self.columns = experts, rows, columns
        self.held = parts_of(experts, rows, columns)
        super().__init__([matrix(len(part) * rows, columns, scheme, tier) for part in self.held])

    def parts(self, choices: int) -> list[tuple[Part, Matrix]]:
        """Every part with its weight, for tokens that have ``choices`` experts."""
        return [
            (Part(part.start, len(part), self.experts, choices), weight)
            for part, weight in zip(self.held, self, strict=True)
        ]
