"""Builds vectors in TIR, of 32 lanes by default: a group of weights, which LLVM cuts to what the CPU has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.kernels.language.builder import KernelBuilder
from mlcweb.kernels.language.expr import Expr, Value

LANES = 32


def repeat(value: Value, lanes: int = LANES) -> Any:
    """A scalar in every lane."""
    return T.Broadcast(value, lanes) if lanes > 1 else value


def keep(k: KernelBuilder, value: Expr, dtype: str, lanes: int = LANES) -> Any:
    """A value computed once, in registers. Of a ``let``, TVM's passes write the value out at each use while they
    simplify, which takes exponential time in a chain of them."""
    registers = k.local(lanes, dtype)
    index = T.Ramp(0, 1, lanes) if lanes > 1 else 0
    k.store(registers, index, value)
    return registers[index]


def constants(dtype: str, values: Sequence[int]) -> Any:
    """A constant vector."""
    return T.Shuffle([tirx.const(value, dtype) for value in values], list(range(len(values))))


def fold(
    k: KernelBuilder, vector: Expr, combine: Callable[[Expr, Expr], Expr], dtype: str, lanes: int = LANES
) -> Any:
    """All lanes combined into a scalar: halves first, the same order on every CPU; an odd lane goes last."""
    vector, odd = keep(k, vector, dtype, lanes), list[Any]()
    while lanes > 1:
        if lanes % 2:
            odd.append(T.Shuffle([vector], [lanes - 1]))
        lanes //= 2
        low, high = list(range(lanes)), list(range(lanes, 2 * lanes))
        vector = keep(k, combine(T.Shuffle([vector], low), T.Shuffle([vector], high)), dtype, lanes)
    for lane in odd:
        vector = keep(k, combine(vector, lane), dtype, 1)
    return vector
