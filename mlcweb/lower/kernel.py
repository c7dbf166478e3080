"""A lowered kernel, and the form in which the kernel cache keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import tvm_ffi
from tvm import tirx

from mlcweb.contract import plan as contract
from mlcweb.contract.constants import Binding

_BINARY = {
    "Add": tirx.Add,
    "Sub": tirx.Sub,
    "Mul": tirx.Mul,
    "FloorDiv": tirx.FloorDiv,
    "FloorMod": tirx.FloorMod,
    "Min": tirx.Min,
    "Max": tirx.Max,
}


@dataclass(frozen=True)
class LoweredKernel:
    """``arguments[i]`` is the index of the PrimFunc's parameter at binding i; the uniform is the last binding.

    ``grid`` holds up to three TIR expressions of the dynamic sizes; ``scalars`` are the uniform's words before
    TVM's ``packGridDimX``, each an expression too. ``reads`` and ``weights`` are ``KernelBuilder``'s.
    """

    name: str
    wgsl: str
    arguments: tuple[int, ...]
    writes: tuple[bool, ...]
    scalars: tuple[Any, ...]
    grid: tuple[Any, ...]
    threads: int
    reads: contract.Reads = field(default_factory=contract.Reads)
    weights: int | None = None

    @property
    def bindings(self) -> list[Binding]:
        """WebGPU buffer binding types, in order."""
        return [*("storage" if written else "read-only-storage" for written in self.writes), "uniform"]

    def planned(self) -> contract.Kernel:
        """As the plan has it: the uniform is the scalars and TVM's ``packGridDimX``."""
        kernel: contract.Kernel = {
            "name": self.name,
            "bindings": self.bindings,
            "uniform_words": len(self.scalars) + 1,
        }
        if self.weights is not None:
            kernel["weights"] = self.weights
        if self.reads:
            kernel["reads"] = self.reads
        return kernel

    def to_json(self) -> dict[str, Any] | None:
        """As JSON; None where an expression is of a kind that ``from_json`` would not make again."""
        expressions = [*self.scalars, *self.grid]
        try:
            data = [_data(expression) for expression in expressions]
        except TypeError:
            return None
        if not tvm_ffi.structural_equal(_expressions(data), expressions, map_free_vars=True):
            return None
        return {
            "name": self.name,
            "wgsl": self.wgsl,
            "arguments": list(self.arguments),
            "writes": list(self.writes),
            "scalars": data[: len(self.scalars)],
            "grid": data[len(self.scalars) :],
            "threads": self.threads,
            "reads": self.reads,
            "weights": self.weights,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> LoweredKernel:
        """The kernel that ``to_json`` was called on."""
        expressions = _expressions([*value["scalars"], *value["grid"]])
        count = len(value["scalars"])
        return cls(
            name=value["name"],
            wgsl=value["wgsl"],
            arguments=tuple(value["arguments"]),
            writes=tuple(value["writes"]),
            scalars=tuple(expressions[:count]),
            grid=tuple(expressions[count:]),
            threads=value["threads"],
            reads=value["reads"],
            weights=value["weights"],
        )


def _data(expression: Any) -> Any:
    """``32``, ``"n"``, or ``["FloorDiv", a, b]``; all are int32. Raises TypeError for others."""
    kind = type(expression).__name__
    if isinstance(expression, tirx.IntImm):
        return int(expression)
    if isinstance(expression, tirx.Var):
        return str(expression.name)
    if kind in _BINARY:
        return [kind, _data(expression.a), _data(expression.b)]
    raise TypeError(kind)


def _expressions(data: list[Any]) -> list[Any]:
    """Expressions that ``_data`` wrote; of a name there is one variable."""
    sizes: dict[str, Any] = {}

    def read(value: Any) -> Any:
        if isinstance(value, int):
            return tirx.IntImm("int32", value)
        if isinstance(value, str):
            return sizes.setdefault(value, tirx.Var(value, "int32"))
        kind, a, b = value
        return _BINARY[kind](read(a), read(b))

    return [read(value) for value in data]
