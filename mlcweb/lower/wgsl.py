"""One scheduled TIR kernel → WGSL text and its launch: which buffer at which binding, grid, scalars."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import tvm
from tvm.tirx import transform as tx

from mlcweb.errors import CompileError
from mlcweb.kernels.tier import Tier

# WebGPU's default limits (https://www.w3.org/TR/webgpu/#limits), which every device has.
MAX_WORKGROUP_MEMORY = 16384
MAX_INVOCATIONS = 256
MAX_STORAGE_BUFFERS = 8
MAX_GRID = 65535
MAX_BINDING_BYTES = 128 << 20


@dataclass(frozen=True)
class LoweredKernel:
    """``arguments[i]`` is the index of the PrimFunc's parameter at binding i; the uniform is the last binding.

    ``grid`` holds up to three TIR expressions of the dynamic sizes; ``scalars`` are the uniform's words before
    TVM's ``packGridDimX``, each an expression too.
    """

    name: str
    wgsl: str
    arguments: tuple[int, ...]
    writes: tuple[bool, ...]
    scalars: tuple[Any, ...]
    grid: tuple[Any, ...]
    threads: int

    @property
    def bindings(self) -> list[str]:
        """WebGPU buffer binding types, in order."""
        return ["storage" if w else "read-only-storage" for w in self.writes] + ["uniform"]


def target_for(tier: Tier) -> tvm.target.Target:
    """TVM's WebGPU target of a tier."""
    return tvm.target.Target(
        {
            "kind": "webgpu",
            "supports_subgroups": tier.subgroups,
            "max_num_threads": MAX_INVOCATIONS,
            "max_shared_memory_per_block": MAX_WORKGROUP_MEMORY,
            "host": {"kind": "llvm", "mtriple": "wasm32-unknown-unknown-wasm"},
        }
    )


_PASSES = [
    tx.StmtSimplify(),
    tx.FlattenBuffer(),
    tx.NarrowDataType(32),
    tx.VectorizeLoop(True),
    tx.UnrollLoop(),
    tx.StmtSimplify(),
    tx.RemoveNoOp(),
    tx.PointerValueTypeRewrite(),
    tx.StmtSimplify(),
    tx.SplitHostDevice(),
]


def lower_kernel(name: str, func: tvm.tirx.PrimFunc, tier: Tier) -> LoweredKernel:
    """Lower ``func`` for ``tier``. Raises CompileError if it exceeds WebGPU's default limits."""
    target = target_for(tier)
    module = tvm.IRModule({name: func.with_attr("global_symbol", name)})
    try:
        module = tvm.transform.Sequential([tx.BindTarget(target), *_PASSES])(module)
        host, device = module[name], module[f"{name}_kernel"]
        wgsl = _generate(name, device)
    except tvm.error.InternalError as error:  # among others for workgroup memory over the target's
        reason = str(error).strip().splitlines()[-1]
        raise CompileError(f"kernel {name}: TVM makes no WGSL of it: {reason}") from error

    launch = _find_launch(host.body)
    launch_params = [str(p) for p in launch.attrs.launch_params]
    values = list(launch.args)[1:]
    scalars = values[len(device.params) - _scalar_count(device) : len(device.params)]
    extents = dict(zip(launch_params, values[len(device.params) :], strict=True))
    names = [str(p.name) for p in host.params]
    arguments: list[int] = []
    writes: list[bool] = []
    for binding, access, buffer in re.findall(
        r"@binding\((\d+)\) var<storage, (read|read_write)> (\w+) :", wgsl
    ):
        if int(binding) != len(arguments):
            raise CompileError(f"kernel {name}: bindings are not consecutive in TVM's WGSL")
        arguments.append(names.index(buffer.removesuffix("_ptr")))
        writes.append(access == "read_write")
    kernel = LoweredKernel(
        name=name,
        wgsl=wgsl,
        arguments=tuple(arguments),
        writes=tuple(writes),
        scalars=tuple(scalars),
        grid=tuple(extents[f"blockIdx.{a}"] for a in "xyz" if f"blockIdx.{a}" in extents),
        threads=int(extents["threadIdx.x"]),
    )
    _check_limits(kernel)
    return kernel


def _scalar_count(device: tvm.tirx.PrimFunc) -> int:
    return sum(1 for p in device.params if not str(p.name).endswith("_ptr"))


def _generate(name: str, device: tvm.tirx.PrimFunc) -> str:
    module = tx.LowerIntrin()(tvm.IRModule({f"{name}_kernel": device}))
    built = tvm.get_global_func("target.build.webgpu")(module, device.attrs["target"])
    lines = [
        line for line in built.inspect_source().splitlines() if line.strip() and not line.startswith("//")
    ]
    return "\n".join(lines).replace(f"fn {name}_kernel(", f"fn {name}(") + "\n"


def _find_launch(statement: Any) -> Any:
    """The host function's only call of a kernel."""
    for child in getattr(statement, "seq", None) or [statement]:
        value = getattr(child, "value", None)
        if value is not None and getattr(value.op, "name", "") == "tirx.call_ffi_kernel":
            return value
        if getattr(child, "body", None) is not None:
            return _find_launch(child.body)
    raise CompileError("TVM produced a host function without a kernel launch")


def _check_limits(kernel: LoweredKernel) -> None:
    memory = 0
    sizes = {"f32": 4, "u32": 4, "i32": 4, "f16": 2}
    for lanes, scalar, count in re.findall(
        r"var<workgroup> \w+ : array<(vec4<)?(\w+)>?, (\d+)>", kernel.wgsl
    ):
        memory += sizes[scalar] * (4 if lanes else 1) * int(count)
    if memory > MAX_WORKGROUP_MEMORY:
        raise CompileError(f"kernel {kernel.name} needs {memory} bytes of workgroup memory; WebGPU has 16384")
    if kernel.threads > MAX_INVOCATIONS:
        raise CompileError(f"kernel {kernel.name} needs {kernel.threads} invocations; WebGPU has 256")
    if len(kernel.arguments) > MAX_STORAGE_BUFFERS:
        raise CompileError(
            f"kernel {kernel.name} binds {len(kernel.arguments)} storage buffers; "
            f"WebGPU has {MAX_STORAGE_BUFFERS}"
        )
