"""Prints one scheduled TIR kernel as WGSL, and finds its launch: which buffer at which binding, grid, scalars."""

from __future__ import annotations

import functools
import re
import time
from dataclasses import replace
from typing import Any, cast

import tvm
import tvm_ffi
from tvm.tirx import transform as tx

from mlcweb.contract.plan import Reads
from mlcweb.debug import CHOICE, KERNEL, logger
from mlcweb.errors import CompileError
from mlcweb.kernel_cache import KernelCache, source_digest
from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.language.builder import READS, WEIGHTS, WGSL_CALL, WGSL_TEXT
from mlcweb.kernels.products.matmul_matrix import NEEDS
from mlcweb.lower.kernel import LoweredKernel

# WebGPU's default limits (https://www.w3.org/TR/webgpu/#limits), which every device has.
MAX_WORKGROUP_MEMORY = 16384
MAX_INVOCATIONS = 256
MAX_STORAGE_BUFFERS = 8
MAX_GRID = 65535

_log = logger("lower.wgsl")


@functools.cache
def webgpu(workgroup_memory: int = MAX_WORKGROUP_MEMORY) -> tvm.target.Target:
    """TVM's WebGPU target, which is every tier's: kernels say themselves what they need."""
    return tvm.target.Target(
        {
            "kind": "webgpu",
            "max_num_threads": MAX_INVOCATIONS,
            "max_shared_memory_per_block": workgroup_memory,
            "host": {"kind": "llvm", "mtriple": "wasm32-unknown-unknown-wasm"},
        }
    )


_PASSES = [
    tx.StmtSimplify(),
    tx.FlattenBuffer(),
    tx.NarrowDataType(32),
    tx.VectorizeLoop(True),
    tx.UnrollLoop(),
    tx.PointerValueTypeRewrite(),
    tx.StmtSimplify(),
    tx.SplitHostDevice(),
]


def lower_kernel(
    name: str, func: tvm.tirx.PrimFunc, tier: Tier, cache: KernelCache | None = None
) -> LoweredKernel:
    """Lower ``func`` for ``tier``, or take it from ``cache``.

    Raises CompileError if it exceeds WebGPU's default limits.
    """
    start = time.monotonic()
    kernel = _lower(name, func) if cache is None else _kept(name, func, cache)
    if _log.isEnabledFor(KERNEL):
        took = 1000 * (time.monotonic() - start)
        made = f"{len(kernel.wgsl)} bytes of WGSL, workgroup of {kernel.threads}"
        grid = " x ".join(map(str, kernel.grid))
        _log.log(KERNEL, "tier %s: %s: %.1f ms, %s, grid %s", tier.name, name, took, made, grid)
    if tier.subgroups:
        kernel = replace(kernel, wgsl=_enable_subgroups(kernel.wgsl))
    return kernel


def _kept(name: str, func: tvm.tirx.PrimFunc, cache: KernelCache) -> LoweredKernel:
    key = _key(name, func)
    cached = cache.read(key)
    _log.log(
        CHOICE, "kernel %s: %s the kernel cache", name, "lowered, not in" if cached is None else "kept in"
    )
    if cached is not None:
        return LoweredKernel.from_json(cached)
    kernel = _lower(name, func)
    made = kernel.to_json()
    if made is not None:
        cache.write(key, made)
    return kernel


def _key(name: str, func: tvm.tirx.PrimFunc) -> list[Any]:
    """What decides a kernel's WGSL. The structural hash leaves out variables' names, which the sources decide."""
    parameters = [f"{p.name}" for p in func.params]
    return [
        "kernel",
        source_digest("contract", "kernels", "lower"),
        name,
        tvm_ffi.structural_hash(func),
        parameters,
    ]


def _enable_subgroups(wgsl: str) -> str:
    """On tiers with subgroups every kernel enables them, after float16 where it has that."""
    first, _, rest = wgsl.partition("\n")
    if first.startswith("enable "):
        return f"{first}\nenable subgroups;\n{rest}"
    return f"enable subgroups;\n{wgsl}"


def _lower(name: str, func: tvm.tirx.PrimFunc) -> LoweredKernel:
    texts = [str(text) for text in func.attrs.get(WGSL_TEXT, [])]
    # only kernels on subgroup matrices have such texts, and their entries say what they need
    memory = NEEDS["limits"]["maxComputeWorkgroupStorageSize"] if texts else MAX_WORKGROUP_MEMORY
    target = webgpu(memory)
    module = tvm.IRModule({name: func.with_attr("global_symbol", name)})
    try:
        module = tvm.transform.Sequential([tx.BindTarget(target), *_PASSES])(module)
        host, device = module[name], module[f"{name}_kernel"]
        wgsl = _with_texts(_generate(name, device), texts)
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
        reads=cast(Reads, {str(key): int(value) for key, value in func.attrs.get(READS, {}).items()}),
        weights=int(func.attrs[WEIGHTS]) if WEIGHTS in func.attrs else None,
    )
    _check_limits(kernel, memory)
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


def _with_texts(wgsl: str, texts: list[str]) -> str:
    """``wgsl`` with the texts of ``KernelBuilder.wgsl`` in place of the calls that stand for them."""
    if not texts:
        return wgsl
    directives, functions, *statements = texts

    body = re.sub(
        rf"{WGSL_CALL}(\d+)\((.*)\);$",
        lambda call: statements[int(call[1])].replace("$0", call[2]),
        wgsl,
        flags=re.M,
    )
    enabled = "".join(re.findall(r"^enable .*\n", body, re.M))
    body = re.sub(r"^enable .*\n", "", body, flags=re.M)
    missing = "".join(line for line in directives.splitlines(True) if line not in enabled)
    return f"{enabled}{missing}{body}{functions}"


def _find_launch(statement: Any) -> Any:
    """The host function's only call of a kernel."""
    for child in getattr(statement, "seq", None) or [statement]:
        value = getattr(child, "value", None)
        if value is not None and getattr(value.op, "name", "") == "tirx.call_ffi_kernel":
            return value
        if getattr(child, "body", None) is not None:
            return _find_launch(child.body)
    raise CompileError("TVM produced a host function without a kernel launch")


def _check_limits(kernel: LoweredKernel, max_memory: int) -> None:
    memory = 0
    sizes = {"f32": 4, "u32": 4, "i32": 4, "f16": 2}
    for lanes, scalar, count in re.findall(
        r"var<workgroup> \w+ : array<(vec4<)?(\w+)>?, (\d+)>", kernel.wgsl
    ):
        memory += sizes[scalar] * (4 if lanes else 1) * int(count)
    if memory > max_memory:
        raise CompileError(
            f"kernel {kernel.name} needs {memory} bytes of workgroup memory, over {max_memory}"
        )
    if kernel.threads > MAX_INVOCATIONS:
        raise CompileError(f"kernel {kernel.name} needs {kernel.threads} invocations; WebGPU has 256")
    if len(kernel.arguments) > MAX_STORAGE_BUFFERS:
        raise CompileError(
            f"kernel {kernel.name} binds {len(kernel.arguments)} storage buffers; "
            f"WebGPU has {MAX_STORAGE_BUFFERS}"
        )
