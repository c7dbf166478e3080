"""How a bundle's tensors look to a kernel: parameters of the model, and loads of four values from them.

float16 tensors are read as such on the f16 tiers; elsewhere the same bytes are bound as uint32 and unpacked.
"""

from typing import Any, Protocol

from tvm.relax.frontend import nn
from tvm.tirx.script import builder as T

from mlcweb.kernels.blocks import place, place4
from mlcweb.kernels.builder import KernelBuilder, call, cast, lane, load4, splat, u32
from mlcweb.kernels.tier import Tier
from mlcweb.quantize import Scheme

GROUP = 32  # of int8 activations; weights say theirs


def _half(word: Any) -> Any:
    """The float32 value of the lower 16 bits of a uint32 that holds float16s."""
    return lane(call("float32x2", "unpack2x16float", word), 0)


def _half_of(word: Any, index: Any) -> Any:
    """The float32 value of element ``index`` of packed float16s, in their uint32."""
    return _half(T.shift_right(word, u32(T.bitwise_and(index, 1) * 16)))


def unpack_half4(low: Any, high: Any) -> Any:
    """Two uint32 of packed float16 → float32x4."""
    pairs = [call("float32x2", "unpack2x16float", word) for word in (low, high)]
    return T.Shuffle([lane(p, i) for p in pairs for i in (0, 1)], [0, 1, 2, 3])


class Reader(Protocol):
    """A tensor bound to a kernel."""

    def four(self, k: KernelBuilder, row: Any, column: Any) -> Any:
        """float32x4: the elements ``[row, column:column+4]``; ``column`` is a multiple of 4."""


class Values(nn.Module):
    """An unquantized tensor ``[rows, columns]`` (a vector has one row), stored in ``dtype``."""

    origin: Any = None  # where it comes from: models.weights

    def __init__(self, shape: tuple[int, ...], dtype: str, tier: Tier) -> None:
        rows, columns = (1, *shape)[-2:]
        self.rows, self.columns = rows, columns
        self.packed = dtype == "float16" and not tier.f16
        if self.packed:
            # an odd row's last word is half padding; only a row alone may be odd
            self.weight = nn.Parameter((rows, (columns + 1) // 2), dtype="uint32")
        else:
            self.weight = nn.Parameter((rows, columns), dtype=dtype)

    @property
    def tensors(self) -> list[nn.Tensor]:
        return [self.weight]

    def bind(self, k: KernelBuilder, name: str) -> "ValuesReader":
        """Declare this tensor as the kernel's next argument."""
        return ValuesReader(k.buffer(name, self.weight.shape, self.weight.dtype), self.packed)


class ValuesReader:
    """Reads an unquantized tensor."""

    def __init__(self, buffer: Any, packed: bool) -> None:
        self.buffer, self.packed = buffer, packed

    def four(self, k: KernelBuilder, row: Any, column: Any) -> Any:
        """float32x4: the elements ``[row, column:column+4]``."""
        if not self.packed:
            return cast("float32x4", load4(self.buffer, row, column))
        words = [k.let(self.buffer[row, T.shift_right(column, 1) + i], "half2") for i in (0, 1)]
        return unpack_half4(*words)

    def one(self, k: KernelBuilder, row: Any, column: Any) -> Any:
        """float32: the element ``[row, column]``. A kernel that calls this cannot call ``four``."""
        if not self.packed:
            return cast("float32", self.buffer[row, column])
        return _half_of(k.let(self.buffer[row, T.shift_right(column, 1)], "half2"), column)


class Vector(nn.Module):
    """An unquantized vector ``[D]``, in block order (``kernels.blocks``)."""

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
        return VectorReader(k.buffer(name, self.blocks.shape, self.blocks.dtype), self.packed, self.columns)


class VectorReader:
    """Reads a vector."""

    def __init__(self, buffer: Any, packed: bool, size: int) -> None:
        self.values, self.size = ValuesReader(buffer, packed), size

    def placed(self, k: KernelBuilder, position: Any) -> Any:
        """float32x4: the four elements that are at ``position`` of the block order."""
        return self.values.four(k, 0, position)

    def four(self, k: KernelBuilder, column: Any) -> Any:
        """float32x4: the elements ``column … column + 3``."""
        return self.values.four(k, 0, k.let(place4(column, self.size), "place"))

    def one(self, k: KernelBuilder, column: Any) -> Any:
        """float32: an element. A kernel that calls this cannot call the others."""
        return self.values.one(k, 0, k.let(place(column, self.size), "place"))


class GroupQuantized(nn.Module):
    """A group-quantized matrix ``[rows, columns]``: codes ``[rows, words]`` of ``bits`` bits and scales ``[rows,
    groups]``; a last group that columns do not fill is padded with codes 0 (``kernels.tail``).
    """

    origin: Any = None

    def __init__(self, shape: tuple[int, ...], scheme: Scheme, tier: Tier) -> None:
        self.rows, self.columns = shape
        self.bits, self.group_size = scheme.bits or 0, scheme.group_size
        self.groups = scheme.groups(self.columns)
        self.packed = scheme.activation == "float16" and not tier.f16
        self.q_weight = nn.Parameter((self.rows, scheme.words(self.columns)), dtype="uint32")
        if self.packed:
            self.q_scale = nn.Parameter(((self.rows * self.groups + 1) // 2,), dtype="uint32")
        else:
            self.q_scale = nn.Parameter((self.rows * self.groups,), dtype=scheme.activation)

    @property
    def tensors(self) -> list[nn.Tensor]:
        return [self.q_weight, self.q_scale]

    def bind(self, k: KernelBuilder, name: str) -> "GroupQuantizedReader":
        """Declare codes and scales as the kernel's next two arguments."""
        codes = k.buffer(f"{name}_codes", self.q_weight.shape, "uint32")
        scales = k.buffer(f"{name}_scales", self.q_scale.shape, self.q_scale.dtype)
        return GroupQuantizedReader(codes, scales, self)


class GroupQuantizedReader:
    """Reads a group-quantized matrix."""

    def __init__(self, codes: Any, scales: Any, weight: GroupQuantized) -> None:
        self.codes, self.scales, self.groups, self.packed = codes, scales, weight.groups, weight.packed
        self.bits, self.group_size = weight.bits, weight.group_size
        self.codes_per_word = 32 // self.bits
        self.words_per_group = self.group_size // self.codes_per_word
        self.zero = (1 << (self.bits - 1)) - 1  # the code that stands for 0
        self.mask = (1 << self.bits) - 1

    def scale(self, k: KernelBuilder, row: Any, group: Any) -> Any:
        """float32: the scale of a group."""
        index = row * self.groups + group
        if not self.packed:
            return cast("float32", self.scales[index])
        return _half_of(k.let(self.scales[T.shift_right(index, 1)], "half2"), index)

    def group(self, column: Any) -> Any:
        """The group that a column is in."""
        return T.shift_right(column, 5) if self.group_size == 32 else column // self.group_size

    def word(self, row: Any, index: Any) -> Any:
        """uint32: word ``index`` of a row's codes, the first in the lowest bits."""
        return self.codes[row, index]

    def codes4(self, k: KernelBuilder, rows: list[Any], column: Any) -> Any:
        """The codes of ``column … column + 3``, a multiple of 4, of one row or four: uint32 or uint32x4.

        They are in the low bits, the first lowest; above them is whatever comes next.
        """

        def gather(index: Any, name: str) -> Any:
            words = [k.let(self.codes[row, index], name) for row in rows]
            return words[0] if len(words) == 1 else T.Shuffle(words, [0, 1, 2, 3])

        def spread(shift: Any) -> Any:
            return shift if len(rows) == 1 else splat(shift)

        if self.bits == 8:
            return gather(T.shift_right(column, 2), "word")
        if self.bits == 4:
            return T.shift_right(
                gather(T.shift_right(column, 3), "word"), spread(u32(T.bitwise_and(column, 4) * 4))
            )
        # Ten codes a word, so four may lie in two words. Otherwise the second is the first again, and what it adds
        # lies above the four.
        first, last = k.let(column // 10, "first"), k.let((column + 3) // 10, "last")
        shift = k.let((column - first * 10) * 3, "shift")
        low = T.shift_right(gather(first, "word"), spread(u32(shift)))
        found = T.bitwise_or(low, T.shift_left(gather(last, "next"), spread(u32(30 - shift))))
        # in registers, not `let`, which TVM would write out at each use
        kept = k.local(1, "uint32" if len(rows) == 1 else "uint32x4", name="found")
        k.store(kept, 0, found)
        return kept[0]

    def four(self, k: KernelBuilder, row: Any, column: Any) -> Any:
        """float32x4: the dequantized elements ``[row, column:column+4]``."""
        word = self.codes4(k, [row], column)
        shifts = T.Ramp(u32(0), u32(self.bits), 4)
        codes = T.bitwise_and(T.shift_right(T.Broadcast(word, 4), shifts), T.Broadcast(u32(self.mask), 4))
        values = T.Cast("float32x4", codes) - splat(float(self.zero))
        return values * splat(self.scale(k, row, self.group(column)))


WholeMatrix = Values | GroupQuantized


def matrix(
    rows: int, columns: int, scheme: Scheme, tier: Tier, *, quantized: bool = True, vocab: bool = False
) -> WholeMatrix:
    """The storage of a ``[rows, columns]`` weight under ``scheme``, by the rule of ``Param``."""
    if quantized and scheme.quantizes(vocab=vocab):
        return GroupQuantized((rows, columns), scheme, tier)
    return Values((rows, columns), scheme.activation, tier)
