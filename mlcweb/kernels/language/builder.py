"""Writes one TIR kernel (or host function): buffers, a launch grid, loops and stores, over TVM's IRBuilder.

Python does the metaprogramming: a Python ``for`` unrolls, a Python ``if`` chooses at compile time, while
``loop`` and ``when`` make the kernel's own loops and branches. Vectors are loads of four lanes (``load4``);
TVM's PointerValueTypeRewrite turns a buffer that is only ever accessed so into ``array<vec4<…>>``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, ParamSpec
from typing import cast as typed

import tvm
from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as ir

from mlcweb.kernels.language.expr import Buffer, Index, Shape, T, Value
from mlcweb.kernels.language.expr import Expr as Expr

P = ParamSpec("P")
Role = Literal["input", "output", "in_place", "scalar"]

# A call of this name and a number stands for that text of the attribute, after directives and functions.
WGSL_CALL, WGSL_TEXT = "mlcweb_wgsl_", "mlcweb.wgsl"
ARGUMENTS = "mlcweb.arguments"  # the PrimFunc's attribute: the kernel's name, then each argument's role
# Its attributes for the profiler: what it reads of what it binds, where that is not all; and of how many weights.
READS, WEIGHTS = "mlcweb.reads", "mlcweb.weights"

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

    Use: ``k = KernelBuilder("name")``, then ``k.buffer``, ``k.in_place`` or ``k.output`` for each argument,
    ``k.launch(grid, threads)``, then the body, then ``k.finish()``. Outputs come after all others. Who launches the
    kernel passes arguments by these names (``ops.launch``).
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._builder = IRBuilder()
        self._stack = ExitStack()
        self._stack.enter_context(self._builder)
        self._stack.enter_context(ir.prim_func(private=True, s_tir=False))
        # 8 is TVM's OpPatternKind kOpaque: Relax must not fuse into a kernel that is already scheduled
        ir.func_attr({"tirx.noalias": True, "op_pattern": 8})
        self.threads = 1
        self._texts: list[str] = []
        self._roles: list[Role] = []
        self._reads: dict[str, int] = {}
        self._weights = 0
        _open.append(self)

    def buffer(self, name: str, shape: Shape, dtype: str, align: int = 0, *, role: Role = "input") -> Buffer:
        """Declare the next argument, a storage buffer that is read; a ``dynamic`` in the shape is a size by its name.

        ``align`` is what its address is a multiple of, in bytes: 64 without it.
        """
        self._roles.append(role)
        return typed(Buffer, ir.arg(name, ir.buffer(tuple(shape), dtype, align=align)))

    def output(self, name: str, shape: Shape, dtype: str) -> Buffer:
        """Declare the next argument, which is written: a launch makes it, or is given one to write into."""
        return self.buffer(name, shape, dtype, role="output")

    def in_place(self, name: str, shape: Shape, dtype: str) -> Buffer:
        """Declare the next argument, which is read and written: a launch must be given it."""
        return self.buffer(name, shape, dtype, role="in_place")

    def weights(self, count: int) -> None:
        """Say how many weights a matrix has that was bound: the plan has their sum, for the profiler."""
        self._weights += count

    def reads(self, **counts: int) -> None:
        """Say what is read of what is bound, where that is not all of it: the plan has it, for the profiler."""
        self._reads.update(counts)

    def scalar(self, name: str) -> Expr:
        """Declare the next argument, an int32: a host function is given it, or a launch of a kernel."""
        self._roles.append("scalar")
        return typed(Expr, ir.arg(name, tirx.Var(name, "int32")))

    def pointer(self, name: str, dtype: str) -> Expr:
        """Declare the next argument, an address (host functions only); ``at`` gives it a shape."""
        self._roles.append("input")
        return typed(Expr, ir.arg(name, ir.ptr(dtype)))

    def at(self, pointer: Expr, shape: Shape, dtype: str) -> Buffer:
        """A buffer at an address."""
        return typed(Buffer, ir.decl_buffer(tuple(shape), dtype, data=pointer))

    def launch(self, grid: Shape, threads: int) -> tuple[list[Expr], Expr]:
        """Set the grid (up to three extents) and the workgroup's threads; returns (workgroup ids, thread id)."""
        ids = [
            IRBuilder.name(
                f"wg_{axis}", self._stack.enter_context(ir.launch_thread(f"blockIdx.{axis}", extent))
            )
            for axis, extent in zip("xyz", grid, strict=False)
        ]
        self.threads = threads
        return ids, IRBuilder.name("tid", self._stack.enter_context(ir.launch_thread("threadIdx.x", threads)))

    def local(self, size: int, dtype: str = "float32", name: str = "regs") -> Buffer:
        """Registers: an array private to the thread."""
        return typed(Buffer, IRBuilder.name(name, ir.alloc_local((size,), dtype)))

    def shared(self, size: int, dtype: str = "float32", name: str = "tile") -> Buffer:
        """Workgroup memory."""
        return typed(Buffer, IRBuilder.name(name, ir.alloc_shared((size,), dtype)))

    def let(self, value: Value, name: str = "v") -> Expr:
        """Name a value, so that it is computed once."""
        return typed(Expr, IRBuilder.name(name, ir.Bind(value)))

    def store(self, buffer: Buffer, index: Index | Sequence[Index], value: Value) -> None:
        """``buffer[index] = value``."""
        ir.buffer_store(buffer, value, list(index) if isinstance(index, (list, tuple)) else [index])

    @contextmanager
    def loop(self, extent: Index) -> Iterator[Expr]:
        """A loop in the kernel, from 0 to ``extent``."""
        with ir.serial(0, extent) as index:
            yield index

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """A branch in the kernel."""
        with ir.If(condition), ir.Then():
            yield

    def only(self, condition: Value) -> None:
        """The rest of the kernel is for workgroups for which ``condition``, the same in all threads, holds."""
        self._stack.enter_context(ir.If(condition))
        self._stack.enter_context(ir.Then())

    def barrier(self) -> None:
        """Wait for the workgroup, and make its stores to workgroup memory visible."""
        ir.evaluate(ir.tvm_storage_sync("shared"))

    def storage_barrier(self) -> None:
        """Wait for the workgroup, and make its stores to storage buffers visible to it."""
        ir.evaluate(ir.call_extern("int32", "storageBarrier"))

    def builtin(self, dtype: str, name: str, *args: Value, pure: bool = True) -> Expr:
        """A WGSL builtin by name (``call``)."""
        return (T.call_pure_extern if pure else T.call_extern)(dtype, name, *args)

    def exp(self, value: Expr) -> Expr:
        """e to the power of a float32, or of each lane of some (``exp``)."""
        return T.exp(value)

    def log(self, value: Expr) -> Expr:
        """The natural logarithm of a float32 (``log``)."""
        return T.log(value)

    def product_mod32(self, a: Expr, b: Expr) -> Expr:
        """The product of two uint32 modulo 2**32 (``product_mod32``)."""
        return a * b

    def wgsl(self, text: str, *argument: Value) -> None:
        """Statements that TIR cannot say, in which ``$0`` is the argument; workgroup memory keeps its names there."""
        ir.evaluate(ir.call_extern("int32", f"{WGSL_CALL}{len(self._texts)}", *argument))
        self._texts.append(text)

    def finish(self, *, directives: str = "", functions: str = "") -> tvm.tirx.PrimFunc:
        """Close every scope and return the kernel; with ``wgsl``, also what it needs before and after it."""
        self._stack.close()
        _open.remove(self)
        func = self._builder.get().with_attr(ARGUMENTS, [self.name, *self._roles])
        if self._reads:
            func = func.with_attr(READS, self._reads)
        if self._weights:
            func = func.with_attr(WEIGHTS, self._weights)
        if not self._texts:
            return func
        return func.with_attr(WGSL_TEXT, [directives, functions, *self._texts])

    def abandon(self) -> None:
        """Leave the builder with what there is; nothing of it is kept."""
        self._stack.pop_all()
        self._builder.__exit__(None, None, None)


def dynamic(name: str) -> Expr:
    """A size known at launch, e.g. the number of tokens of a prefill chunk; of its name there is one in a launch."""
    return typed(Expr, tirx.Var(name, "int32"))


# -- expressions -----------------------------------------------------------------------------------------


def call(dtype: str, name: str, *args: Value, pure: bool = True) -> Expr:
    """A WGSL builtin by name, e.g. ``call("float32", "dot", a, b)``; for a CPU, what does the same there.

    Of a ``pure`` one TVM may make a call at every use of its name.
    """
    return _open[-1].builtin(dtype, name, *args, pure=pure)


def exp(value: Expr) -> Expr:
    """e to the power of a float32, or of each lane of some."""
    return _open[-1].exp(value)


def product_mod32(a: Expr, b: Expr) -> Expr:
    """The product of two uint32 modulo 2**32, as WGSL has it; to LLVM, TVM promises that none overflows."""
    return _open[-1].product_mod32(a, b)


def log(value: Expr) -> Expr:
    """The natural logarithm of a float32."""
    return _open[-1].log(value)


def load4(buffer: Buffer, *index: Index) -> Expr:
    """Four consecutive elements along the last axis, starting at ``index`` (a multiple of 4)."""
    where = (*index[:-1], T.Ramp(index[-1], 1, 4))
    return buffer[where]


def ramp4(index: Index) -> Expr:
    """The index of four consecutive elements, for ``KernelBuilder.store``."""
    return T.Ramp(index, 1, 4)


def splat(value: Value) -> Expr:
    """A scalar in all four lanes."""
    return T.Broadcast(value, 4)


def lane(vector: Expr, index: int) -> Expr:
    """One lane of a vector."""
    return T.Shuffle([vector], [index])


def f32(value: Value) -> Expr:
    """A float32 constant or cast."""
    if isinstance(value, (int, float)):
        return typed(Expr, tirx.const(value, "float32"))
    return T.Cast("float32", value)


def u32(value: Value) -> Expr:
    """A uint32 constant or cast."""
    return typed(Expr, tirx.const(value, "uint32")) if isinstance(value, int) else T.Cast("uint32", value)


def cast(dtype: str, value: Expr) -> Expr:
    """``value`` as ``dtype``, unless it is that already."""
    known: Any = value
    current = known.ty.dtype if hasattr(known, "ty") else known.dtype
    return value if str(current) == dtype else T.Cast(dtype, value)


def bits(dtype: str, value: Value) -> Expr:
    """The same bits as another type (WGSL's bitcast)."""
    return T.reinterpret(dtype, value)


def select(condition: Value, yes: Value, no: Value) -> Expr:
    """``yes`` where ``condition`` holds, else ``no``; both are evaluated."""
    return T.Select(condition, yes, no)
