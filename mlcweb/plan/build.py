"""Walks the planned Relax functions and writes down what the engine is to replay."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import tvm
from tvm import relax, tirx

from mlcweb.contract import plan as contract
from mlcweb.contract.constants import DTYPE_BYTES, GRID_WORDS, BufferKind
from mlcweb.errors import CompileError
from mlcweb.kernel_cache import KernelCache
from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.ops.entries import EntryPoint
from mlcweb.lower import Entries, LoweredKernel, lower_kernel
from mlcweb.lower.host import lower_host_kernel
from mlcweb.plan.sizes import substitute

RECURRENT = "recurrent_"  # begins the name of a model's attribute that is a layer's recurrent state
KERNEL_MARK = "//// kernel "  # begins the line before a kernel, with its name


@dataclass(frozen=True)
class Buffer:
    """A GPU buffer; ``kind`` is one of the contract's, or kv. ``bytes`` is exact, before alignment."""

    name: str
    kind: BufferKind | Literal["kv"]
    bytes: int
    pages: int = 0

    def to_json(self) -> contract.Buffer:
        if self.kind == "kv":
            size = self.bytes // self.pages
            return {"name": self.name, "kind": "kv", "page_bytes": size, "pages": self.pages}
        return {"name": self.name, "kind": self.kind, "bytes": self.bytes}


@dataclass(frozen=True)
class Launch:
    """A kernel and the buffers at its bindings, both as indices into the plan's lists; the operation and layer.

    ``sizes``: values of the kernel's scalars by name, numbers or expressions of the entry's sizes, where they are not
    the entry's size of the same name; the launch table has them, not the plan.
    """

    kernel: int
    args: tuple[int, ...]
    op: str
    layer: int | None = None
    sizes: tuple[tuple[str, Any], ...] = ()

    def to_json(self) -> contract.Launch:
        launch: contract.Launch = {"kernel": self.kernel, "op": self.op, "args": list(self.args)}
        if self.layer is not None:
            launch["layer"] = self.layer
        return launch


@dataclass
class Entry:
    """An entry point's launches; ``dims`` names its dynamic sizes, ``most`` says how large they may be, ``needs`` is
    what it needs beyond its tier.
    """

    name: str
    dims: tuple[str, ...]
    most: dict[str, int]
    launches: list[Launch] = field(default_factory=list)
    needs: contract.Needs | None = None


@dataclass
class Plan:
    """Everything a tier's engine replays."""

    tier: Tier
    buffers: list[Buffer]
    kernels: list[LoweredKernel]
    entries: list[Entry]

    def record_words(self, entry: Entry) -> int:
        """u32 words of a launch-table record: the grid, then the widest uniform of the entry's kernels."""
        return GRID_WORDS + max(len(self.kernels[launch.kernel].scalars) + 1 for launch in entry.launches)

    def launch_export(self, entry: Entry) -> str:
        """The wasm function that writes the entry's launch table."""
        return f"{self.tier.name.replace('-', '_')}_{entry.name}"

    def to_json(self) -> contract.Plan:
        """The plan as the bundle stores it."""
        return {
            "tier": self.tier.name,
            "buffers": [buffer.to_json() for buffer in self.buffers],
            "kernels": [kernel.planned() for kernel in self.kernels],
            "entries": {entry.name: self._entry(entry) for entry in self.entries},
        }

    def _entry(self, entry: Entry) -> contract.Entry:
        made: contract.Entry = {
            "dims": list(entry.dims),
            "launch": self.launch_export(entry),
            "record_words": self.record_words(entry),
            "launches": [launch.to_json() for launch in entry.launches],
        }
        if entry.needs:
            made["needs"] = entry.needs
        return made

    def wgsl(self) -> str:
        """All kernels' WGSL, each after its ``//// kernel`` line."""
        return "".join(f"{KERNEL_MARK}{k.name}\n{k.wgsl}" for k in self.kernels)

    def memory(self, kind: str) -> int:
        """Bytes of all buffers of a kind."""
        return sum(b.bytes for b in self.buffers if b.kind == kind)


def build_plan(entries: Entries, tier: Tier, cache: KernelCache | None = None) -> Plan:
    """The plan of a lowered module, whose kernels ``cache`` may have.

    Raises CompileError if a kernel or a grid exceeds WebGPU's limits.
    """
    builder = _PlanBuilder(entries, tier, cache)
    for point in entries.points:
        builder.add_entry(point)
    return builder.finish()


def _nbytes(ty: Any, dims: dict[str, int]) -> int:
    shape = [int(substitute(d, dims)) for d in ty.shape.values]
    return math.prod(shape) * DTYPE_BYTES[str(ty.dtype.dtype if hasattr(ty.dtype, "dtype") else ty.dtype)]


@dataclass(frozen=True)
class _Call:
    """A call of a kernel (its index) with buffers, or ("scratch", i); ``sizes`` as a launch has them."""

    kernel: int
    args: list[Any]
    sizes: tuple[tuple[str, Any], ...]


def _own_sizes(kernel: tirx.PrimFunc, args: Any) -> tuple[tuple[str, Any], ...]:
    """What a call gives for the kernel's scalars, where that is not the entry's size of the same name."""
    sizes: dict[str, Any] = {}
    for param, arg in zip(kernel.params, args, strict=True):
        if isinstance(arg, tirx.IntImm):
            sizes[str(param.name)] = int(arg)
            continue
        for extent, value in zip(param.shape, arg.ty.shape.values, strict=True):
            if isinstance(extent, tirx.Var) and str(extent.name) != str(getattr(value, "name", "")):
                sizes.setdefault(str(extent.name), value)
    return tuple(sizes.items())


class _PlanBuilder:
    def __init__(self, entries: Entries, tier: Tier, cache: KernelCache | None) -> None:
        self.entries, self.tier, self.cache = entries, tier, cache
        self.buffers: list[Buffer] = []
        self.index: dict[str, int] = {}
        self.kernels: list[LoweredKernel] = []
        self.kernel_index: dict[str, int] = {}
        self.done: list[Entry] = []
        # entries never run at the same time, so they share scratch: the i-th largest of each are one buffer
        self.scratch: list[int] = []
        self.pending: list[tuple[Entry, list[_Call], list[int]]] = []

    def _buffer(self, name: str, kind: BufferKind | Literal["kv"], nbytes: int, pages: int = 0) -> int:
        if name not in self.index:
            self.index[name] = len(self.buffers)
            self.buffers.append(Buffer(name, kind, nbytes, pages))
        return self.index[name]

    def _kernel(self, name: str) -> int:
        if name not in self.kernel_index:
            self.kernel_index[name] = len(self.kernels)
            function = self.entries.module[name]
            if self.tier.cpu:
                self.kernels.append(lower_host_kernel(name, function))
            else:
                self.kernels.append(lower_kernel(name, function, self.tier, self.cache))
        return self.kernel_index[name]

    def add_entry(self, point: EntryPoint) -> None:
        function = self.entries.module[point.name]
        dims = self.entries.most[point.name]
        needs = point.needs(self.tier) if point.needs else None
        entry = Entry(point.name, point.dims, dims, needs=needs)
        values: dict[Any, Any] = {}  # Relax variable → buffer index, ("scratch", i), or a tuple of those
        inputs = len(function.params) - len(self.entries.parameters)
        for i, param in enumerate(function.params):
            values[param] = self._parameter(i - inputs, param, dims)
        storages: list[int] = []
        calls: list[_Call] = []
        self._output = point.output
        result = self._resolve_result(function)
        for block in function.body.blocks:
            for binding in block.bindings:
                values[binding.var] = self._binding(binding, values, storages, calls, dims, result)
        noted = self.entries.emitted[point.name]
        if [self.kernels[call.kernel].name for call in calls] != [call.kernel for call in noted]:
            raise CompileError(
                f"the calls of {point.name} are not those that the model emitted: a Relax pass moved them"
            )
        self.pending.append((entry, calls, storages))

    def _parameter(self, i: int, param: Any, dims: dict[str, int]) -> int:
        size = _nbytes(param.ty, dims)
        if i < 0:
            return self._buffer(str(param.name), "output" if param.name == "logits" else "input", size)
        name = self.entries.parameters[i]
        if name.endswith(".kv"):
            layer = name.split(".")[-3]
            return self._buffer(f"kv.{layer}", "kv", size, int(param.ty.shape.values[0]))
        own = name.rsplit(".", 1)[-1]
        if own.startswith(RECURRENT):
            layer = name.removeprefix("model.layers.").partition(".")[0]
            return self._buffer(f"recurrent.{layer}.{own.removeprefix(RECURRENT)}", "recurrent", size)
        return self._buffer(name, "weight", size)

    def _resolve_result(self, function: Any) -> Any:
        """The variable that the function returns, seen through aliases."""
        aliases = {}
        for block in function.body.blocks:
            for binding in block.bindings:
                if isinstance(binding.value, relax.Var):
                    aliases[binding.var] = binding.value
        result = function.body.body
        while result in aliases:
            result = aliases[result]
        return result

    def _binding(
        self,
        binding: Any,
        values: dict[Any, Any],
        storages: list[int],
        calls: list[_Call],
        dims: dict[str, int],
        result: Any,
    ) -> Any:
        value = binding.value
        if isinstance(value, relax.Var):
            return values[value]
        if isinstance(value, relax.Tuple):
            return tuple(values[f] for f in value.fields)
        if isinstance(value, relax.TupleGetItem):
            return values[value.tuple_value][value.index]
        operation = value.op
        if isinstance(operation, tvm.ir.GlobalVar):
            args = [None if isinstance(a, tirx.IntImm) else values[a] for a in value.args]
            sizes = _own_sizes(self.entries.module[operation], value.args)
            calls.append(_Call(self._kernel(str(operation.name_hint)), args, sizes))
            return None
        name = str(operation.name)
        if name == "relax.memory.alloc_storage":
            storages.append(int(value.args[0].values[0]))
            return ("scratch", len(storages) - 1)
        if name == "relax.memory.alloc_tensor":
            if int(value.args[1].value) != 0:
                raise CompileError(
                    "TVM planned a tensor inside another's storage, which the plan cannot express"
                )
            return values[value.args[0]]
        if name == "relax.builtin.alloc_tensor":
            if binding.var != result:
                raise CompileError(f"a tensor of {_nbytes(binding.var.ty, dims)} bytes was left unplanned")
            return self._buffer(self._output, "output", _nbytes(binding.var.ty, dims))
        raise CompileError(f"Relax operation {name} has no kernel")

    def finish(self) -> Plan:
        """Give scratch its buffers and put each launch's buffers in binding order."""
        used = {b for _, calls, _ in self.pending for call in calls for b in call.args if isinstance(b, int)}
        order = [i for i in range(len(self.buffers)) if i in used]
        buffers = [self.buffers[i] for i in order]
        moved = {old: new for new, old in enumerate(order)}
        sizes: list[int] = []
        ranks = []
        for _, _, storages in self.pending:
            by_size = sorted(range(len(storages)), key=lambda s: -storages[s])
            ranks.append({s: rank for rank, s in enumerate(by_size)})
            for rank, s in enumerate(by_size):
                if rank == len(sizes):
                    sizes.append(0)
                sizes[rank] = max(sizes[rank], storages[s])
        first = len(buffers)
        buffers += [Buffer(f"scratch.{i}", "scratch", size) for i, size in enumerate(sizes)]
        entries = []
        for (entry, calls, _), ranked in zip(self.pending, ranks, strict=True):
            for call, noted in zip(calls, self.entries.emitted[entry.name], strict=True):
                bound = tuple(
                    moved[a] if isinstance(a, int) else first + ranked[a[1]]
                    for a in (call.args[i] for i in self.kernels[call.kernel].arguments)
                )
                entry.launches.append(Launch(call.kernel, bound, noted.op, noted.layer, call.sizes))
            entries.append(entry)
        return Plan(self.tier, buffers, self.kernels, entries)
