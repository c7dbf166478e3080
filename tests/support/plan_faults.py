"""What may be wrong with a plan's use of its buffers, found by what Relax's calls say."""

from __future__ import annotations

import math
from typing import Any

from tvm import relax
from tvm.ir import GlobalVar

from mlcweb.lower import Entries
from mlcweb.plan import Plan
from mlcweb.plan.sizes import substitute
from tests.support.lowered import CHUNK

ITEM = {"uint32": 4, "int32": 4, "float32": 4, "float16": 2}


def values_of_calls(function: Any) -> list[tuple[str, list[Any]]]:
    """(kernel, its arguments) in order; an argument is the variable of the tensor, seen through aliases."""
    alias: dict[Any, Any] = {}

    def root(value: Any) -> Any:
        while value in alias:
            value = alias[value]
        return value

    calls = []
    for block in function.body.blocks:
        for binding in block.bindings:
            value = binding.value
            if isinstance(value, relax.Var):
                alias[binding.var] = value
            elif isinstance(value, relax.TupleGetItem):
                alias[binding.var] = root(value.tuple_value).fields[value.index]
            elif isinstance(value, relax.Tuple):
                alias[binding.var] = value
            elif isinstance(value.op, GlobalVar):
                calls.append((str(value.op.name_hint), [root(argument) for argument in value.args]))
    return calls


def nbytes(variable: Any) -> int:
    dims = [int(substitute(d, {"n": CHUNK})) for d in variable.ty.shape.values]
    return math.prod(dims) * ITEM[str(getattr(variable.ty.dtype, "dtype", variable.ty.dtype))]


def faults(entries: Entries, plan: Plan) -> list[str]:
    """What is wrong with the plan's use of its buffers, a line each."""
    messages = []
    for entry in plan.entries:
        calls = values_of_calls(entries.module[entry.name])
        if [name for name, _ in calls] != [plan.kernels[launch.kernel].name for launch in entry.launches]:
            return [f"{entry.name} launches other kernels than the module calls"]
        parameters = set(entries.module[entry.name].params)
        holds: dict[int, Any] = {}  # what each scratch buffer holds
        for i, ((_, arguments), launch) in enumerate(zip(calls, entry.launches, strict=True)):
            kernel = plan.kernels[launch.kernel]
            place = f"{entry.name}[{i}] {kernel.name}"
            written = set()
            for argument, buffer, writes in zip(kernel.arguments, launch.args, kernel.writes, strict=True):
                value, facts = arguments[argument], plan.buffers[buffer]
                if nbytes(value) > facts.bytes and facts.kind != "kv":
                    messages.append(f"{place}: {facts.name} has {facts.bytes} of {nbytes(value)} bytes")
                if (facts.kind == "scratch") == (value in parameters or facts.kind == "output"):
                    messages.append(f"{place}: {facts.name} is {facts.kind} and the value is another kind")
                elif facts.kind == "scratch" and not writes and not value.same_as(holds.get(buffer)):
                    messages.append(f"{place}: {facts.name} no longer holds what is read")
                if writes:
                    written.add(buffer)
                    holds[buffer] = value
            if written and any(launch.args.count(buffer) > 1 for buffer in written):
                messages.append(f"{place}: a buffer that it writes is bound twice, which WebGPU refuses")
    return messages
