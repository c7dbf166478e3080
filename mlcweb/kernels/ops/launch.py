"""Emits the launch of a kernel, with tensors by the names of its arguments; no launch is emitted elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import tvm
from tvm import tirx
from tvm.relax.frontend.nn import Tensor, op

from mlcweb.kernels.language.builder import ARGUMENTS, Role
from mlcweb.kernels.ops.emitted import for_operation

_ROLES: dict[str, Role] = {
    "input": "input",
    "output": "output",
    "in_place": "in_place",
    "scalar": "scalar",
}


class ArgumentError(TypeError):
    """A launch whose tensors are not what its kernel declares."""


class Stored(Protocol):
    """A weight: one or more tensors, in the order in which it is bound to a kernel."""

    @property
    def tensors(self) -> list[Tensor]: ...


@dataclass(frozen=True)
class Argument:
    """``shape`` may have the kernel's own sizes, such as n, and expressions of them."""

    name: str
    shape: tuple[Any, ...]
    dtype: str
    role: Role


def arguments(kernel: tirx.PrimFunc) -> list[Argument]:
    """What a kernel declares, in its order; a scalar has no extents."""
    _, *roles = kernel.attrs[ARGUMENTS]
    return [
        Argument(
            str(p.name), tuple(getattr(p, "shape", ())), "int32" if role == "scalar" else str(p.dtype), role
        )
        for p, role in zip(kernel.params, (_ROLES[str(role)] for role in roles), strict=True)
    ]


def launch(
    entry: str, operation: str, kernel: tirx.PrimFunc, given: Mapping[str, Tensor | Stored | int | None]
) -> dict[str, Tensor]:
    """Emit a call of ``kernel`` for an operation of an entry, such as ``qkv`` of ``decode``; both name it in the plan.
    Returns what it writes, by name.

    ``given`` has a tensor for each argument's name; None counts as left out. A weight ``w`` is for the argument ``w``,
    or ``w_codes``, ``w_scales`` and so on; a number is for a scalar. An output that is not given is made, of the
    shape that is declared; one that is given is written in place. Raises ArgumentError, with the kernel's and the
    argument's names.
    """
    declared, name = arguments(kernel), f"{entry}_{operation}"
    where = f"{name}: kernel {kernel.attrs[ARGUMENTS][0]}"
    numbers = {name: value for name, value in given.items() if isinstance(value, int)}
    scalars = [argument.name for argument in declared if argument.role == "scalar"]
    if sorted(numbers) != sorted(scalars):
        raise ArgumentError(f"{where}: the numbers {sorted(numbers)} are given, and it has {sorted(scalars)}")
    given = {name: value for name, value in given.items() if value is not None and name not in numbers}
    tensors = _by_argument(where, declared, given)
    sizes = _sizes(where, declared, tensors)
    for argument in declared:
        if argument.name in tensors:
            _check(where, argument, tensors[argument.name], sizes)
        elif argument.role in ("input", "in_place"):
            raise ArgumentError(f"{where}: nothing is given for {argument.name!r}")
    passed = [argument for argument in declared if argument.name in {*tensors, *scalars}]
    written = [argument for argument in declared if argument.role in ("output", "in_place")]
    if not written:
        raise ArgumentError(f"{where} declares no output")
    made = [argument for argument in written if argument.name not in tensors]
    if declared[len(passed) :] != made:
        raise ArgumentError(f"{where}: {made[0].name!r} is to be made, and is not the last of its arguments")
    args = [tirx.IntImm("int32", numbers[a.name]) if a.role == "scalar" else tensors[a.name] for a in passed]
    outs = [Tensor.placeholder(_shape(argument, sizes), argument.dtype) for argument in written]
    out = outs if len(outs) > 1 else outs[0]
    with for_operation(operation):
        if len(made) == len(written):
            results = op.tensor_ir_op(kernel, name, args, out)
        else:
            places = [passed.index(argument) if argument in passed else -1 for argument in written]
            results = op.tensor_ir_inplace_op(kernel, name, args, places, out)
    return dict(
        zip([argument.name for argument in written], results if len(outs) > 1 else [results], strict=True)
    )


def _by_argument(
    where: str, declared: Sequence[Argument], given: Mapping[str, Tensor | Stored]
) -> dict[str, Tensor]:
    """The tensor of each argument; a weight has several."""
    by_name: dict[str, Tensor] = {}
    for name, value in given.items():
        tensors = [value] if isinstance(value, Tensor) else value.tensors
        names = [a.name for a in declared if a.name == name or a.name.startswith(f"{name}_")]
        names = [name] if name in names else names
        if len(names) != len(tensors):
            raise ArgumentError(f"{where}: {len(tensors)} tensors are given for {name!r}, which has {names}")
        by_name.update(zip(names, tensors, strict=True))
    return by_name


def _sizes(where: str, declared: Sequence[Argument], tensors: Mapping[str, Tensor]) -> dict[Any, Any]:
    """The launch's value of each of the kernel's sizes: where it is all of an extent, it is the tensor's there."""
    sizes: dict[Any, Any] = {}
    for argument in declared:
        if argument.name in tensors and len(argument.shape) == len(tensors[argument.name].shape):
            for extent, value in zip(argument.shape, tensors[argument.name].shape, strict=True):
                if isinstance(extent, tirx.Var):
                    sizes.setdefault(extent, value)
    return sizes


def _check(where: str, argument: Argument, tensor: Tensor, sizes: Mapping[Any, Any]) -> None:
    declared = _shape(argument, sizes)
    if argument.dtype != str(tensor.dtype) or len(declared) != len(tensor.shape):
        actual = f"{tensor.dtype} of {len(tensor.shape)} axes"
        raise ArgumentError(f"{where}: {argument.name!r} is {argument.dtype} {list(declared)}, not {actual}")
    for extent, value in zip(declared, tensor.shape, strict=True):
        if not _equal(extent, value):
            raise ArgumentError(
                f"{where}: {argument.name!r} is {list(declared)}, and {list(tensor.shape)} is given"
            )


def _equal(extent: Any, value: Any) -> bool:
    if isinstance(extent, int) and isinstance(value, (int, tirx.IntImm)):
        return extent == int(value)
    return bool(tvm.sym.Analyzer().can_prove_equal(extent, value))


def _shape(argument: Argument, sizes: Mapping[Any, Any]) -> tuple[Any, ...]:
    """The declared shape, with the launch's sizes."""
    return tuple(_extent(extent, sizes) for extent in argument.shape)


def _extent(extent: Any, sizes: Mapping[Any, Any]) -> Any:
    if isinstance(extent, (int, tirx.IntImm)):
        return int(extent)
    analyzer = tvm.sym.Analyzer()
    for size, value in sizes.items():
        analyzer.bind(size, tirx.const(value, "int32") if isinstance(value, int) else value)
    simplified = analyzer.simplify(extent)
    return int(simplified) if isinstance(simplified, tirx.IntImm) else simplified
