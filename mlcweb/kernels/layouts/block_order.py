"""Block order lays decode's vectors out so that threads that take a block each read side by side.

Element ``32 b + 4 c + i`` of a vector of ``32 B`` elements is at ``(c B + b) 4 + i``: the first fours of all blocks,
then the second fours, and so on. Vectors of other lengths lie as they are.
"""

from mlcweb.contract.constants import BLOCK
from mlcweb.kernels.language.expr import Index, T

_LOG = BLOCK.bit_length() - 1


def offset4(column: Index, width: int) -> Index:
    """Where the elements ``column … column + 3`` of a vector are; ``column`` is a multiple of 4."""
    if width % BLOCK:
        return column
    return (
        T.shift_right(T.bitwise_and(column, BLOCK - 1), 2) * (width // BLOCK) + T.shift_right(column, _LOG)
    ) * 4


def offset(index: Index, width: int) -> Index:
    """Where an element of a vector is."""
    if width % BLOCK:
        return index
    return offset4(index, width) + T.bitwise_and(index, 3)
