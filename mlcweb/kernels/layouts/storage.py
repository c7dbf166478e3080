"""Declares a bundle's tensors as parameters of the model, and loads four values at a time from them in a kernel.

float16 tensors are read as such on the f16 tiers; elsewhere the same bytes are bound as uint32 and unpacked.
"""

from collections.abc import Callable
from typing import Any, Protocol

from tvm.relax.frontend import nn

from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.language.builder import KernelBuilder, cast, load4
from mlcweb.kernels.language.expr import Buffer, Expr, Index, T
from mlcweb.kernels.layouts.block_order import offset, offset4
from mlcweb.kernels.layouts.packed_floats import half_at, unpack_bfloat4, unpack_half4
from mlcweb.kernels.layouts.quantized import GroupQuantized
from mlcweb.quantize.formats import Format

GROUP = 32  # int8 activations share a scale in groups of 32; the group of weights is their format's


class Reader(Protocol):
    """A tensor bound to a kernel."""

    def four(self, k: KernelBuilder, row: Index, column: Index) -> Expr:
        """float32x4: the elements ``[row, column:column+4]``; ``column`` is a multiple of 4."""


class Values(nn.Module):
    """An unquantized tensor ``[rows, columns]`` (a vector has one row), stored in ``dtype``.

    bfloat16, of which WGSL has none, is held in pairs in uint32 on every tier; its columns are even in number.
    """

    origin: Any = None  # where it comes from: models.weights

    def __init__(self, shape: tuple[int, ...], dtype: str, tier: Tier) -> None:
        rows, columns = (1, *shape)[-2:]
        self.rows, self.columns = rows, columns
        self.dtype = dtype
        self.packed = dtype == "float16" and not tier.f16
        if dtype == "bfloat16":
            self.bf16 = nn.Parameter((rows, columns // 2), dtype="uint32")
        elif self.packed:
            # an odd row's last word is half padding; only a row alone may be odd
            self.weight = nn.Parameter((rows, (columns + 1) // 2), dtype="uint32")
        else:
            self.weight = nn.Parameter((rows, columns), dtype=dtype)

    @property
    def tensors(self) -> list[nn.Tensor]:
        return [self.bf16 if self.dtype == "bfloat16" else self.weight]

    def bind(self, k: KernelBuilder, name: str) -> "ValuesReader":
        """Declare this tensor as the kernel's next argument."""
        (tensor,) = self.tensors
        if self.rows > 1:
            k.weights(self.rows * self.columns)
        unpack = unpack_bfloat4 if self.dtype == "bfloat16" else unpack_half4 if self.packed else None
        return ValuesReader(k.buffer(name, tensor.shape, tensor.dtype), unpack)


class ValuesReader:
    """Reads an unquantized tensor."""

    def __init__(self, buffer: Buffer, unpack: Callable[[Expr, Expr], Expr] | None) -> None:
        """``unpack`` makes four values of two words, where they are packed."""
        self.buffer, self.unpack = buffer, unpack

    def four(self, k: KernelBuilder, row: Index, column: Index) -> Expr:
        """float32x4: the elements ``[row, column:column+4]``."""
        if self.unpack is None:
            return cast("float32x4", load4(self.buffer, row, column))
        words = [k.let(self.buffer[row, T.shift_right(column, 1) + i], "half2") for i in (0, 1)]
        return self.unpack(*words)

    def one(self, k: KernelBuilder, row: Index, column: Index) -> Expr:
        """float32: the element ``[row, column]``, of no bfloat16. A kernel that calls this cannot call ``four``."""
        if self.unpack is None:
            return cast("float32", self.buffer[row, column])
        return half_at(k.let(self.buffer[row, T.shift_right(column, 1)], "half2"), column)


class Vector(nn.Module):
    """An unquantized vector ``[D]``, in block order (``kernels.layouts.block_order``)."""

    origin: Any = None

    def __init__(self, size: int, dtype: str, tier: Tier) -> None:
        self.columns = size
        self.packed = dtype == "float16" and not tier.f16
        if self.packed:
            self.blocks = nn.Parameter((1, size // 2), dtype="uint32")
        else:
            self.blocks = nn.Parameter((1, size), dtype=dtype)

    @property
    def tensors(self) -> list[nn.Tensor]:
        return [self.blocks]

    def bind(self, k: KernelBuilder, name: str) -> "VectorReader":
        """Declare this tensor as the kernel's next argument."""
        unpack = unpack_half4 if self.packed else None
        return VectorReader(k.buffer(name, self.blocks.shape, self.blocks.dtype), unpack, self.columns)


class VectorReader:
    """Reads a vector."""

    def __init__(self, buffer: Buffer, unpack: Callable[[Expr, Expr], Expr] | None, size: int) -> None:
        self.values, self.size = ValuesReader(buffer, unpack), size

    def four_at(self, k: KernelBuilder, position: Expr) -> Expr:
        """float32x4: the four elements that are at ``position`` in block order."""
        return self.values.four(k, 0, position)

    def four(self, k: KernelBuilder, column: Index) -> Expr:
        """float32x4: the elements ``column … column + 3``."""
        return self.values.four(k, 0, k.let(offset4(column, self.size), "place"))

    def one(self, k: KernelBuilder, column: Index) -> Expr:
        """float32: an element. A kernel that calls this cannot call the others."""
        return self.values.one(k, 0, k.let(offset(column, self.size), "place"))


WholeMatrix = Values | GroupQuantized
Stored = Format | str  # of a matrix: a format, or the type of its floats


def matrix(rows: int, columns: int, stored: Stored, tier: Tier) -> WholeMatrix:
    """The storage of a ``[rows, columns]`` weight."""
    if isinstance(stored, str):
        return Values((rows, columns), stored, tier)
    return GroupQuantized((rows, columns), stored, tier)
