"""Writes a kernel for a CPU: with what GPUs' kernels call by WGSL's names, so that readers of layouts serve both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx

from mlcweb.kernels.cpu import elementary
from mlcweb.kernels.language.builder import KernelBuilder, f32, select, u32
from mlcweb.kernels.language.expr import Buffer, Expr, Index, T, Value


class CpuKernel(KernelBuilder):
    """As ``KernelBuilder``; values that ``let`` names are in registers.

    TVM's simplifier would write a named value out at each of its uses, which takes exponential time in a chain.
    """

    def parallel(self, extent: Index) -> Expr:
        """The index in the kernel's grid; threads take ranges of it. It comes after the arguments."""
        (index,), _ = self.launch([extent], 1)
        return index

    def let(self, value: Value, name: str = "v") -> Expr:
        """Name a value, so that it is computed once."""
        dtype, lanes = type_of(value)
        registers = self.local(lanes, dtype, name)
        index = T.Ramp(0, 1, lanes) if lanes > 1 else 0
        self.store(registers, index, value)
        return registers[index]

    def vector(self, name: str, lanes: int = 4, dtype: str = "float32") -> Vector:
        """A vector in registers that is assigned to more than once; zeros to begin with."""
        vector = Vector(self, self.local(lanes, dtype, name), lanes)
        vector.set(repeat(tirx.const(0, dtype), lanes))
        return vector

    def view(self, buffer: Any, dtype: str) -> Buffer:
        """The same bytes as elements of another type, in one dimension."""
        return self.at(buffer.data, (1 << 30,), dtype)

    def exp(self, value: Expr) -> Expr:
        return elementary.exp(self.let, value, type_of(value)[1])

    def log(self, value: Expr) -> Expr:
        return elementary.log(self.let, value)

    def product_mod32(self, a: Expr, b: Expr) -> Expr:
        wide = T.Cast("uint64", a) * T.Cast("uint64", b)
        return T.Cast("uint32", T.bitwise_and(wide, tirx.const(0xFFFFFFFF, "uint64")))

    def builtin(self, dtype: str, name: str, *args: Value, pure: bool = True) -> Expr:
        """What WGSL's builtin of a name does, for those that readers of layouts and outputs call."""
        lanes = type_of(args[0])[1]
        make = _BUILTINS.get(name)
        if make is None:
            raise ValueError(f"kernel {self.name}: a CPU's kernels have no {name}")
        return make(self, lanes, *args)


class Vector:
    """A vector in registers."""

    def __init__(self, k: KernelBuilder, registers: Buffer, lanes: int) -> None:
        self.k, self.registers, self.lanes = k, registers, lanes

    @property
    def value(self) -> Expr:
        return self.registers[T.Ramp(0, 1, self.lanes) if self.lanes > 1 else 0]

    def set(self, value: Value) -> None:
        self.k.store(self.registers, T.Ramp(0, 1, self.lanes) if self.lanes > 1 else 0, value)

    def add(self, value: Expr) -> None:
        self.set(self.value + value)


def type_of(value: Any) -> tuple[str, int]:
    """A value's scalar type and its lanes."""
    kind = str(value.ty.dtype if hasattr(value, "ty") else value.dtype)
    scalar, _, lanes = kind.partition("x")
    return scalar, int(lanes or 1)


def repeat(value: Value, lanes: int = 4) -> Expr:
    """A scalar in every lane."""
    return T.Broadcast(value, lanes) if lanes > 1 else value  # type: ignore[return-value]


def sum_of_lanes(k: KernelBuilder, vector: Expr) -> Expr:
    """float32: the sum of a float32x4's lanes, as (0 + 1) + (2 + 3)."""
    vector = k.let(vector, "vector")
    one = [T.Shuffle([vector], [i]) for i in range(4)]
    return (one[0] + one[1]) + (one[2] + one[3])


def sums_of_lanes(k: KernelBuilder, vectors: Sequence[Expr]) -> Expr:
    """float32x4: lane i is the sum of the lanes of the i-th of four float32x4."""
    pairs = []
    for a, b in (vectors[:2], vectors[2:]):
        a, b = k.let(a, "a"), k.let(b, "b")
        pairs.append(k.let(T.Shuffle([a, b], [0, 4, 1, 5]) + T.Shuffle([a, b], [2, 6, 3, 7]), "pair"))
    return k.let(T.Shuffle(pairs, [0, 1, 4, 5]) + T.Shuffle(pairs, [2, 3, 6, 7]), "sums")


def llvm(dtype: str, name: str, *args: Value) -> Expr:
    """An LLVM intrinsic by name."""
    call: Expr = tirx.call_llvm_pure_intrin(dtype, f"llvm.{name}", *args)
    return call


def _floats(lanes: int) -> str:
    return "float32" if lanes == 1 else f"float32x{lanes}"


def _dot(k: CpuKernel, lanes: int, a: Expr, b: Expr) -> Expr:
    return sum_of_lanes(k, a * b)


def _sign(k: CpuKernel, lanes: int, value: Expr) -> Expr:
    zero, one = (repeat(f32(x), lanes) for x in (0.0, 1.0))
    value = k.let(value)
    return select(value > zero, one, select(value < zero, zero - one, value))


def _clamp(k: CpuKernel, lanes: int, value: Expr, low: Expr, high: Expr) -> Expr:
    return T.min(high, k.let(T.max(low, value)))


def _unpack_halves(k: CpuKernel, lanes: int, word: Expr) -> Expr:
    word = k.let(word, "word")
    halves = [T.bitwise_and(word, u32(0xFFFF)), T.shift_right(word, u32(16))]
    return elementary.half_to_float(k.let, T.Shuffle(halves, [0, 1]), 2)


def _pack_halves(k: CpuKernel, lanes: int, pair: Expr) -> Expr:
    halves = k.let(elementary.float_to_half(k.let, pair, 2), "halves")
    low, high = (T.Shuffle([halves], [i]) for i in (0, 1))
    return T.bitwise_or(low, T.shift_left(high, u32(16)))


# TVM compares as a < b and keeps the second where that fails: NaN, as the second, is kept.
_BUILTINS: dict[str, Callable[..., Expr]] = {
    "abs": lambda k, lanes, x: llvm(_floats(lanes), "fabs", x),
    "sign": _sign,
    "dot": _dot,
    "min": lambda k, lanes, a, b: T.min(b, a),
    "max": lambda k, lanes, a, b: T.max(b, a),
    "clamp": _clamp,
    "round": lambda k, lanes, x: llvm(_floats(lanes), "nearbyint", x),
    "unpack2x16float": _unpack_halves,
    "pack2x16float": _pack_halves,
}
