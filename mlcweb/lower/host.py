"""Lowers the CPU tier's kernels: to C functions, which threads call each for a range of a kernel's grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import ir, tirx

from mlcweb.errors import CompileError
from mlcweb.kernels.language.builder import ARGUMENTS, WEIGHTS
from mlcweb.lower.kernel import LoweredKernel


@dataclass(frozen=True)
class HostKernel:
    """``function``: pointers in the order of the kernel's buffers, then int32: ``sizes`` by name, scalars, and the
    range of the grid ``begin``, ``end``. ``grid`` is an expression of the sizes.
    """

    function: tirx.PrimFunc
    sizes: tuple[str, ...]
    grid: Any
    numbers: tuple[Any, ...]  # the function's parameters between the pointers and the range


def host_kernel(kernel: tirx.PrimFunc) -> HostKernel:
    """A kernel that was launched with a grid of one dimension and one thread. Raises ValueError for others."""
    name = str(kernel.attrs[ARGUMENTS][0])
    index, grid, body = _launch(name, kernel.body)
    pointers: list[Any] = []
    scalars: list[Any] = []
    declared: list[Any] = []
    sizes: dict[Any, str] = {}
    for parameter in kernel.params:
        if not hasattr(parameter, "data_alignment"):
            scalars.append(parameter)
            continue
        pointers.append(tirx.Var(str(parameter.name), ir.PointerType(ir.PrimType(str(parameter.dtype)))))
        declared.append(tirx.DeclBuffer(parameter, data=pointers[-1]))
        for extent in parameter.shape:
            if isinstance(extent, tirx.Var):
                sizes.setdefault(extent, str(extent.name))
    begin, end = (tirx.Var(word, "int32") for word in ("begin", "end"))
    loop = tirx.For(index, begin, end - begin, tirx.ForKind.SERIAL, body)
    function = tirx.PrimFunc(
        [*pointers, *sizes, *scalars, begin, end],
        tirx.SeqStmt([*declared, loop]),
        attrs=ir.make_node("ir.DictAttrs", **{"tirx.noalias": True}),
    )
    return HostKernel(function, tuple(sizes.values()), grid, (*sizes, *scalars))


def lower_host_kernel(name: str, kernel: tirx.PrimFunc) -> LoweredKernel:
    """As ``lower_kernel`` for a GPU: the uniform's words are the function's numbers, without the range.

    Raises CompileError for a kernel that is not the CPU tier's: then an operation has none.
    """
    try:
        host = host_kernel(kernel)
    except ValueError as error:
        raise CompileError(f"the CPU tier cannot run {name}: {error}") from error
    roles = [str(role) for role in list(kernel.attrs[ARGUMENTS])[1:]]
    buffers = tuple(i for i, role in enumerate(roles) if role != "scalar")
    return LoweredKernel(
        name=name,
        wgsl="",
        arguments=buffers,
        writes=tuple(roles[i] != "input" for i in buffers),
        scalars=host.numbers,
        grid=(host.grid,),
        threads=1,
        weights=int(kernel.attrs[WEIGHTS]) if WEIGHTS in kernel.attrs else None,
    )


def _launch(name: str, body: Any) -> tuple[Any, Any, Any]:
    """The grid's index, its extent, and what is done for each."""
    axes: dict[str, tuple[Any, Any]] = {}
    while isinstance(body, tirx.AttrStmt) and body.attr_key == "thread_extent":
        axes[str(body.node.thread_tag)] = (body.node.var, body.value)
        body = body.body
    if set(axes) != {"blockIdx.x", "threadIdx.x"} or int(axes["threadIdx.x"][1]) != 1:
        raise ValueError(f"kernel {name}: a CPU's kernel begins with a grid of one dimension")
    return *axes["blockIdx.x"], body
