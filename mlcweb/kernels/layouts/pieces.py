"""Matrices in pieces of whole rows. A launch for each piece writes the piece's outputs.

Such a matrix is larger than a default WebGPU binding, or its rows are stored in several ways.
"""

from dataclasses import dataclass

from tvm.relax.frontend import nn

from mlcweb.kernels.layouts.storage import WholeMatrix
from mlcweb.quantize import Param, Scheme, packed_tensors

MAX_BINDING_BYTES = 128 << 20  # of a tensor: WebGPU's default maxStorageBufferBindingSize
_MULTIPLE = 64  # of a piece's outputs: tiles' columns, and vectors' blocks


@dataclass(frozen=True)
class Piece:
    """A piece makes the outputs from ``first`` on, of a matrix that makes ``outputs``."""

    first: int
    outputs: int


class Pieces(nn.Module):
    """A matrix ``[rows, columns]`` in pieces, each of which makes a range of its outputs.

    ``paired``: it is gate over up, and so is each piece.
    """

    def __init__(self, parts: list[WholeMatrix], ranges: list[range], *, paired: bool) -> None:
        self.parts, self.ranges, self.paired = nn.ModuleList(parts), ranges, paired
        self.rows, self.columns = sum(part.rows for part in parts), parts[0].columns


class Apart(nn.Module):
    """Gate and up of which each is stored in its own way, and so has a product of its own."""

    def __init__(self, gate: WholeMatrix | Pieces, up: WholeMatrix | Pieces) -> None:
        self.gate, self.up = gate, up
        self.rows, self.columns = gate.rows + up.rows, gate.columns


Matrix = WholeMatrix | Pieces


def pieces(weight: Matrix) -> list[tuple[WholeMatrix, Piece | None]]:
    """A matrix's pieces; None for one that is whole."""
    if not isinstance(weight, Pieces):
        return [(weight, None)]
    ranges = weight.ranges
    return [(part, Piece(own.start, ranges[-1].stop)) for part, own in zip(weight.parts, ranges, strict=True)]


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
