"""Splits a matrix into pieces of whole rows: each is a tensor, and a launch makes its outputs.

Such a matrix is larger than a default WebGPU binding, or its rows are stored in several types.
"""

from dataclasses import dataclass

from tvm.relax.frontend import nn

from mlcweb.kernels.layouts.storage import WholeMatrix
from mlcweb.quantize import Param, Scheme, packed_tensors

MAX_BINDING_BYTES = 128 << 20  # of a tensor: WebGPU's default maxStorageBufferBindingSize
_MULTIPLE = 64  # of a piece's outputs: tiles' columns, and vectors' blocks


@dataclass(frozen=True)
class Piece:
    """Which outputs a piece makes: those from ``first`` on, of the whole matrix's ``outputs``."""

    first: int
    outputs: int


class SplitMatrix(nn.Module):
    """A matrix ``[rows, columns]`` in pieces, each of which makes a range of its outputs.

    ``paired``: it is gate over up, and so is each piece. A stored tensor's name has ``parts`` in it.
    """

    def __init__(self, parts: list[WholeMatrix], ranges: list[range], *, paired: bool) -> None:
        self.parts, self.ranges, self.paired = nn.ModuleList(parts), ranges, paired
        self.rows, self.columns = sum(matrix.rows for matrix in parts), parts[0].columns


class SplitGateUp(nn.Module):
    """Gate and up, stored in two types: each has a product of its own."""

    def __init__(self, gate: WholeMatrix | SplitMatrix, up: WholeMatrix | SplitMatrix) -> None:
        self.gate, self.up = gate, up
        self.rows, self.columns = gate.rows + up.rows, gate.columns


Matrix = WholeMatrix | SplitMatrix


def pieces(weight: Matrix) -> list[tuple[WholeMatrix, Piece | None]]:
    """A matrix's pieces; None for one that is whole."""
    if not isinstance(weight, SplitMatrix):
        return [(weight, None)]
    ranges = weight.ranges
    return [
        (matrix, Piece(own.start, ranges[-1].stop)) for matrix, own in zip(weight.parts, ranges, strict=True)
    ]


def rows_of_pieces(param: Param, scheme: Scheme, *, paired: bool) -> list[range]:
    """The outputs of each piece of a parameter ``[rows, columns]``; one range where it fits a binding."""
    rows = param.shape[0]
    outputs = rows // 2 if paired else rows
    row_bytes = max(tensor.nbytes for tensor in packed_tensors(param, scheme)) / outputs
    largest = max(int(MAX_BINDING_BYTES / row_bytes) // _MULTIPLE, 1) * _MULTIPLE
    if outputs * row_bytes <= MAX_BINDING_BYTES:
        return [range(outputs)]
    count = -(-outputs // largest)
    step = -(-outputs // count // _MULTIPLE) * _MULTIPLE
    return [range(start, min(start + step, outputs)) for start in range(0, outputs, step)]
