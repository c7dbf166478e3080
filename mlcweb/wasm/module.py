"""Compiles host functions with LLVM's wasm32 backend, and links them to ``model.wasm``."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tvm
from tvm import tirx
from tvm.tirx import transform as tx

from mlcweb.errors import CompileError
from mlcweb.lower import Entries
from mlcweb.lower.host import host_kernel
from mlcweb.plan import Plan
from mlcweb.wasm.launch_table import launch_table
from mlcweb.wasm.sampler import host_sample

# simd128 is in every browser that has WebGPU
_TARGET = {
    "kind": "llvm",
    "mtriple": "wasm32-unknown-unknown-wasm",
    "mattr": ["+simd128"],
    "vector-width": 128,
}
_RELAXED = {**_TARGET, "mattr": ["+simd128", "+relaxed-simd"]}

_PASSES = [
    tx.StmtSimplify(),
    tx.FlattenBuffer(),
    tx.NarrowDataType(32),
    tx.VectorizeLoop(True),
    tx.UnrollLoop(),
    tx.StmtSimplify(),
    tx.LowerIntrin(),
]


# No simplification, as in mlcweb.native: it writes a named value out at each of its uses.
_KERNEL_PASSES = [tx.FlattenBuffer(), tx.VectorizeLoop(True), tx.LowerIntrin()]


def build_wasm(plans: Sequence[Plan]) -> bytes:
    """``model.wasm`` for the tiers' plans. Raises CompileError."""
    exports = [plan.launch_export(entry) for plan in plans for entry in plan.entries]
    return link_model([compile_tables(plan) for plan in plans], exports)


def compile_tables(plan: Plan) -> bytes:
    """An object with a tier's launch tables. Raises CompileError for a grid over WebGPU's limit."""
    return compile_object(
        {plan.launch_export(entry): launch_table(plan, entry, entry.most) for entry in plan.entries}
    )


def build_cpu_module(entries: Entries, plan: Plan, *, relaxed: bool) -> bytes:
    """A module with the kernels of a CPU tier's plan, by the names that the plan has.

    It imports its memory, of at most 4 GiB, which the threads' instances share. ``__stack_pointer`` is exported, as
    each thread needs a stack of its own, and ``__heap_base``, where the memory is free. Raises CompileError.
    """
    kernels = {kernel.name: entries.module[kernel.name] for kernel in plan.kernels}
    functions = compile_kernels(kernels, relaxed=relaxed)
    shared = ["--import-memory", f"--max-memory={1 << 32}"]
    return link([functions], [*kernels, "__stack_pointer"], shared)


def link_model(tables: Sequence[bytes], exports: Sequence[str]) -> bytes:
    """``model.wasm`` of the tiers' objects, which define ``exports``, and the host sampler. Raises CompileError."""
    sampler = compile_object({"host_sample": host_sample()})
    return link([*tables, sampler], [*exports, "host_sample"])


def compile_object(functions: dict[str, tirx.PrimFunc]) -> bytes:
    """Compile host functions to an object for ``link``, which defines each by name."""
    return _compile(functions, _TARGET, _PASSES)


def compile_kernels(kernels: dict[str, tirx.PrimFunc], *, relaxed: bool) -> bytes:
    """The same of the CPU tier's kernels, as ``host_kernel`` makes functions of them.

    ``relaxed``: for browsers that have Relaxed SIMD; sums may differ in their last bits from one CPU to another.
    """
    functions = {name: host_kernel(kernel).function for name, kernel in kernels.items()}
    return _compile(functions, _RELAXED if relaxed else _TARGET, _KERNEL_PASSES)


def _compile(
    functions: dict[str, tirx.PrimFunc], options: dict[str, Any], passes: Sequence[tvm.transform.Pass]
) -> bytes:
    target = tvm.target.Target(options)
    # calling convention 0: a plain C function instead of TVM's packed one, so nothing of TVM's runtime is needed
    module = tvm.IRModule(
        {
            name: f.with_attrs({"global_symbol": name, "target": target, "calling_conv": 0})
            for name, f in functions.items()
        }
    )
    module = tvm.transform.Sequential(list(passes))(module)
    library = tvm.get_global_func("target.build.llvm")(module, target)
    with tempfile.TemporaryDirectory(prefix="mlcweb-wasm-") as folder:
        path = Path(folder, "functions.o")
        library.write_to_file(str(path))
        return path.read_bytes()


def link(objects: Sequence[bytes], exports: Sequence[str], options: Sequence[str] = ()) -> bytes:
    """A module of the objects' functions that exports those named. Raises CompileError."""
    with tempfile.TemporaryDirectory(prefix="mlcweb-wasm-") as folder:
        paths = [Path(folder, f"{i}.o") for i in range(len(objects))]
        for path, data in zip(paths, objects, strict=True):
            path.write_bytes(data)
        output = Path(folder, "model.wasm")
        linker = [sys.executable, "-m", "ziglang", "wasm-ld", "--no-entry", "--gc-sections", "--strip-all"]
        named = [f"--export={name}" for name in sorted(exports)]
        run = subprocess.run(
            [*linker, *options, "--export=__heap_base", *named, *map(str, paths), "-o", str(output)],
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode != 0:
            raise CompileError(
                f"wasm-ld failed: {run.stderr.strip()[-500:]}", hint="Reinstall the ziglang package."
            )
        return output.read_bytes()
