"""Compiles a TIR function to machine code for this CPU; it is called with numpy arrays, without Python's lock."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
import tvm_ffi
from tvm import tirx
from tvm.tirx import transform as tx

from mlcweb.kernels.language.builder import KernelBuilder

Native = Callable[..., None]
_building = threading.Lock()  # TVM's builders belong to a thread, but what they register does not

# What each level of x86-64 needs; the CPU's own name would promise what a virtual machine may have taken away.
_LEVELS = (
    ("x86-64-v4", ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")),
    ("x86-64-v3", ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")),
)

# No simplification: it writes a named value out at each of its uses, which takes exponential time here.
_PASSES = [
    tx.FlattenBuffer(),
    tx.VectorizeLoop(True),
    tx.AnnotateEntryFunc(),
    tx.SplitHostDevice(),
    tx.MakePackedAPI(),
    tx.LowerIntrin(),
]


@functools.cache
def _target() -> tvm.target.Target:
    triple = str(tvm.get_global_func("tvm.codegen.llvm.GetProcessTriple")())
    if not triple.startswith("x86_64"):
        return tvm.target.Target({"kind": "llvm", "mtriple": triple})
    has = tvm.get_global_func("tvm.codegen.llvm.GetHostCPUFeatures")()
    features = {str(name) for name, there in has.items() if there}
    level = next((name for name, needed in _LEVELS if features.issuperset(needed)), "x86-64")
    return tvm.target.Target({"kind": "llvm", "mtriple": triple, "mcpu": level})


def compile_native(name: str, function: tirx.PrimFunc) -> Native:
    """``function`` as a callable of C-contiguous numpy arrays, which it reads and writes in place. Thread-safe."""
    module = tvm.IRModule({name: function.with_attr("global_symbol", name)})
    target = _target()
    with target:
        module = tvm.transform.Sequential([tx.BindTarget(target.with_host(target)), *_PASSES])(module)
    run = tvm.get_global_func("target.build.llvm")(module, target)[name]

    def call(*arrays: npt.NDArray[Any]) -> None:
        run(*map(tvm_ffi.from_dlpack, arrays))

    return call


def built_once(make: Callable[..., Native]) -> Callable[..., Native]:
    """Caches what ``make`` builds by its arguments; two threads do not build at the same time."""
    cached = functools.cache(make)

    @functools.wraps(make)
    def build(*args: Any) -> Native:
        with _building:
            return cached(*args)

    return build


def argument(k: KernelBuilder, name: str, shape: tuple[Any, ...], dtype: str) -> Any:
    """The next argument: an array aligned to its elements only, as numpy's are."""
    return k.buffer(name, shape, dtype, align=np.dtype(dtype).itemsize)
