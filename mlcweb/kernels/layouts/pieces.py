"""Matrices in pieces of whole rows, a launch for each, which writes its outputs.

They are larger than a default WebGPU binding, or their rows are stored in several ways.
"""

from dataclasses import dataclass

from tvm.relax.frontend import nn

from mlcweb.kernels.layouts.storage import WholeMatrix
from mlcweb.quantize import Param, Scheme, packed_tensors

MOST_BYTES = 128 << 20  # of a tensor: WebGPU's default maxStorageBufferBindingSize
_MULTIPLE = 64  # of a piece's outputs: tiles' columns, and vectors' blocks


@dataclass(frozen=True)
class Piece:
    """Which outputs a piece makes: those from ``first``, of ``outputs`` in all."""

    first: int
    outputs: int


class Pieces(nn.Module):
    """A matrix ``[rows, columns]`` whose rows are in several; gate over up if ``paired``, and each piece is too."""

    def __init__(self, parts: list[WholeMatrix], held: list[range], *, paired: bool) -> None:
        self.parts, self.held, self.paired = nn.ModuleList(parts), held, paired
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
    held = weight.held
    return [(part, Piece(own.start, held[-1].stop)) for part, own in zip(weight.parts, held, strict=True)]


def held_by_pieces(param: Param, scheme: Scheme, *, paired: bool) -> list[range]:
    """The outputs of each piece of a parameter ``[rows, columns]``; one range where it fits a binding."""
    rows = param.shape[0]
    outputs = rows // 2 if paired else rows
    row_bytes = max(tensor.nbytes for tensor in packed_tensors(param, scheme)) / outputs
    most = max(int(MOST_BYTES / row_bytes) // _MULTIPLE, 1) * _MULTIPLE
    if outputs * row_bytes <= MOST_BYTES:
        return [range(outputs)]
    count = -(-outputs // most)
    step = -(-outputs // count // _MULTIPLE) * _MULTIPLE
    return [range(start, min(start + step, outputs)) for start in range(0, outputs, step)]
