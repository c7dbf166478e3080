"""Writes one TIR kernel (or host function): buffers, a launch grid, loops and stores, over TVM's IRBuilder.

Python does the metaprogramming: a Python ``for`` unrolls, a Python ``if`` chooses at compile time, while
``loop`` and ``when`` make the kernel's own loops and branches. Vectors are loads of four lanes (``load4``);
TVM's PointerValueTypeRewrite turns a buffer that is only ever accessed so into ``array<vec4<…>>``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, ParamSpec

import tvm
from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

Expr = Any  # a TIR expression, or a Python number
P = ParamSpec("P")

# A call of this name and a number stands for that text of the attribute, after directives and functions.
WGSL_CALL, WGSL_TEXT = "mlcweb_wgsl_", "mlcweb.wgsl"

_open: list[KernelBuilder] = []


def kernel(make: Callable[P, tvm.tirx.PrimFunc]) -> Callable[P, tvm.tirx.PrimFunc]:
    """For a function that writes a kernel: an error in it also closes the builders that it left open.

    TVM keeps open builders in a thread's storage, whose Python callbacks it would free after Python is gone.
    """

    @functools.wraps(make)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> tvm.tirx.PrimFunc:
        before = len(_open)
        try:
            return make(*args, **kwargs)
        except BaseException:
            while len(_open) > before:
                _open.pop().abandon()
            raise

    return guarded


class KernelBuilder:
    """Collects a kernel's statements; ``finish`` returns the PrimFunc.

    Use: ``k = KernelBuilder("name")``, then ``k.buffer(...)`` for each argument in order, ``k.launch(grid, threads)``,
    then the body, then ``k.finish()``. Arguments come in the order inputs, then outputs.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._builder = IRBuilder()
        self._stack = ExitStack()
        self._stack.enter_context(self._builder)
        self._stack.enter_context(T.prim_func(private=True, s_tir=False))
        # 8 is TVM's OpPatternKind kOpaque: Relax must not fuse into a kernel that is already scheduled
        T.func_attr({"tirx.noalias": True, "op_pattern": 8})
        self.threads = 1
        self._texts: list[str] = []
        _open.append(self)

    def buffer(self, name: str, shape: Sequence[Expr], dtype: str, align: int = 0) -> Any:
        """Declare the next argument, a storage buffer; a ``tirx.Var`` in the shape is a dynamic size.

        ``align`` is what its address is a multiple of, in bytes: 64 without it.
        """
        return T.arg(name, T.buffer(tuple(shape), dtype, align=align))

    def scalar(self, name: str) -> Any:
        """Declare the next argument, an int32 (host functions only)."""
        return T.arg(name, tirx.Var(name, "int32"))

    def pointer(self, name: str, dtype: str) -> Any:
        """Declare the next argument, an address (host functions only); ``at`` gives it a shape."""
        return T.arg(name, T.ptr(dtype))

    def at(self, pointer: Any, shape: Sequence[Expr], dtype: str) -> Any:
        """A buffer at an address."""
        return T.decl_buffer(tuple(shape), dtype, data=pointer)

    def launch(self, grid: Sequence[Expr], threads: int) -> tuple[list[Any], Any]:
        """Set the grid (up to three extents) and the workgroup's threads; returns (workgroup ids, thread id)."""
        ids = [
            IRBuilder.name(
                f"wg_{axis}", self._stack.enter_context(T.launch_thread(f"blockIdx.{axis}", extent))
            )
            for axis, extent in zip("xyz", grid, strict=False)
        ]
        self.threads = threads
        return ids, IRBuilder.name("tid", self._stack.enter_context(T.launch_thread("threadIdx.x", threads)))

    def local(self, size: int, dtype: str = "float32", name: str = "regs") -> Any:
        """Registers: an array private to the thread."""
        return IRBuilder.name(name, T.alloc_local((size,), dtype))

    def shared(self, size: int, dtype: str = "float32", name: str = "tile") -> Any:
        """Workgroup memory."""
        return IRBuilder.name(name, T.alloc_shared((size,), dtype))

    def let(self, value: Expr, name: str = "v") -> Any:
        """Name a value, so that it is computed once."""
        return IRBuilder.name(name, T.Bind(value))

    def store(self, buffer: Any, index: Expr | Sequence[Expr], value: Expr) -> None:
        """``buffer[index] = value``."""
        T.buffer_store(buffer, value, list(index) if isinstance(index, (list, tuple)) else [index])

    @contextmanager
    def loop(self, extent: Expr) -> Iterator[Any]:
        """A loop in the kernel, from 0 to ``extent``."""
        with T.serial(0, extent) as index:
            yield index

    @contextmanager
    def when(self, condition: Expr) -> Iterator[None]:
        """A branch in the kernel."""
        with T.If(condition), T.Then():
            yield

    def only(self, condition: Expr) -> None:
        """The rest of the kernel is for workgroups for which ``condition``, the same in all threads, holds."""
        self._stack.enter_context(T.If(condition))
        self._stack.enter_context(T.Then())

    def barrier(self) -> None:
        """Wait for the workgroup, and make its stores to workgroup memory visible."""
        T.evaluate(T.tvm_storage_sync("shared"))

    def storage_barrier(self) -> None:
        """Wait for the workgroup, and make its stores to storage buffers visible to it."""
        T.evaluate(T.call_extern("int32", "storageBarrier"))

    def wgsl(self, text: str, *argument: Expr) -> None:
        """Statements that TIR cannot say, in which ``$0`` is the argument; workgroup memory keeps its names there."""
        T.evaluate(T.call_extern("int32", f"{WGSL_CALL}{len(self._texts)}", *argument))
        self._texts.append(text)

    def finish(self, *, directives: str = "", functions: str = "") -> tvm.tirx.PrimFunc:
        """Close every scope and return the kernel; with ``wgsl``, also what it needs before and after it."""
        self._stack.close()
        _open.remove(self)
        func = self._builder.get()
        if not self._texts:
            return func
        return func.with_attr(WGSL_TEXT, [directives, functions, *self._texts])

    def abandon(self) -> None:
        """Leave the builder with what there is; nothing of it is kept."""
        self._stack.pop_all()
        self._builder.__exit__(None, None, None)


def dynamic(name: str) -> Any:
    """A size known at launch, e.g. the number of tokens of a prefill chunk."""
    return tirx.Var(name, "int32")


# -- expressions -----------------------------------------------------------------------------------------


def call(dtype: str, name: str, *args: Expr) -> Any:
    """A WGSL builtin by name, e.g. ``call("float32", "dot", a, b)``."""
    return T.call_pure_extern(dtype, name, *args)


def load4(buffer: Any, *index: Expr) -> Any:
    """Four consecutive elements along the last axis, starting at ``index`` (a multiple of 4)."""
    where = (*index[:-1], T.Ramp(index[-1], 1, 4))
    return buffer[where]


def ramp4(index: Expr) -> Any:
    """The index of four consecutive elements, for ``KernelBuilder.store``."""
    return T.Ramp(index, 1, 4)


def splat(value: Expr) -> Any:
    """A scalar in all four lanes."""
    return T.Broadcast(value, 4)


def lane(vector: Expr, index: int) -> Any:
    """One lane of a vector."""
    return T.Shuffle([vector], [index])


def f32(value: Expr) -> Any:
    """A float32 constant or cast."""
    return tirx.const(value, "float32") if isinstance(value, (int, float)) else T.Cast("float32", value)


def u32(value: Expr) -> Any:
    """A uint32 constant or cast."""
    return tirx.const(value, "uint32") if isinstance(value, int) else T.Cast("uint32", value)


def cast(dtype: str, value: Expr) -> Any:
    """``value`` as ``dtype``, unless it is that already."""
    return (
        value
        if str(value.ty.dtype if hasattr(value, "ty") else value.dtype) == dtype
        else T.Cast(dtype, value)
    )


def bits(dtype: str, value: Expr) -> Any:
    """The same bits as another type (WGSL's bitcast)."""
    return T.reinterpret(dtype, value)


def select(condition: Expr, yes: Expr, no: Expr) -> Any:
    """``yes`` where ``condition`` holds, else ``no``; both are evaluated."""
    return T.Select(condition, yes, no)
