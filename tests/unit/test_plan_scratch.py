"""Scratch memory: no launch reads a buffer that was overwritten since the value that it needs was put there.

The planned Relax function names every value; replaying a plan against it finds any two that share a buffer while
both are needed.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from tvm import relax
from tvm.ir import GlobalVar

from mlcweb.kernels.choice.tier import BASE, SUBGROUPS, Tier
from mlcweb.lower import Entries
from mlcweb.plan import Launch, Plan
from mlcweb.plan.sizes import substitute
from tests.fixtures.lowered import CHUNK, SHAPES, VARIANTS, lowered

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
    found = []
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
                    found.append(f"{place}: {facts.name} has {facts.bytes} of {nbytes(value)} bytes")
                if (facts.kind == "scratch") == (value in parameters or facts.kind == "output"):
                    found.append(f"{place}: {facts.name} is {facts.kind} and the value is another kind")
                elif facts.kind == "scratch" and not writes and not value.same_as(holds.get(buffer)):
                    found.append(f"{place}: {facts.name} no longer holds what is read")
                if writes:
                    written.add(buffer)
                    holds[buffer] = value
            if written and any(launch.args.count(buffer) > 1 for buffer in written):
                found.append(f"{place}: a buffer that it writes is bound twice, which WebGPU refuses")
    return found


@pytest.mark.parametrize(("scheme", "tier"), VARIANTS, ids=lambda v: v.name if isinstance(v, Tier) else v)
@pytest.mark.parametrize("shape", ["tiny", "tiny-untied", "SmolLM2-135M"])
def test_no_value_is_overwritten_before_its_last_read(shape: str, scheme: str, tier: Tier) -> None:
    assert faults(*lowered(shape, scheme, tier)) == []


def test_scratch_is_reused() -> None:
    """By layers and by entries: it must not grow with either."""
    _, plan = lowered("tiny", "q4f32_1", SUBGROUPS)
    tiny = SHAPES["tiny"]
    scratch = [b.bytes for b in plan.buffers if b.kind == "scratch"]
    widest = CHUNK * max(tiny.intermediate, (tiny.heads + 2 * tiny.kv_heads) * tiny.head_dim) * 4
    assert len(scratch) <= 8 and max(scratch) <= 2 * widest
    prefill = plan.entries[0]
    assert len(scratch) < sum(any(plan.kernels[launch.kernel].writes) for launch in prefill.launches)


def test_the_check_finds_what_is_wrong() -> None:
    entries, plan = lowered("tiny", "q4f32_1", BASE)
    scratch = [i for i, b in enumerate(plan.buffers) if b.kind == "scratch"]

    def changed(change: Any) -> list[str]:
        made = [
            replace(
                entry, launches=[Launch(x.kernel, tuple(change(a) for a in x.args)) for x in entry.launches]
            )
            for entry in plan.entries
        ]
        return faults(entries, replace(plan, entries=made))

    assert changed(lambda a: a) == []
    merged = changed(lambda a: scratch[0] if a in scratch else a)
    assert any("no longer holds" in fault for fault in merged)
    assert any("bound twice" in fault for fault in merged)
    small = replace(plan, buffers=[replace(b, bytes=16) if b.kind == "scratch" else b for b in plan.buffers])
    assert any("of" in fault and "bytes" in fault for fault in faults(entries, small))
    swapped = changed(lambda a: scratch[-1] if a == scratch[0] else scratch[0] if a == scratch[-1] else a)
    assert all("no longer" not in fault for fault in swapped), (
        "another name for the same buffers is no fault of order"
    )
