"""What a plan must satisfy before anything is replayed from it."""

from __future__ import annotations

from typing import Any

from mlcweb.bundle.check import check_schema
from mlcweb.errors import BundleError


def check_plan(plan: Any, tier: str, file: str) -> None:
    """The plan's schema, its indices, and that each launch has a buffer for each binding.

    Raises BundleError naming the field.
    """
    check_schema(plan, "plan.schema.json", file)

    def fail(field: str, message: str) -> None:
        raise BundleError(f"{file}: {field}: {message}")

    if plan["tier"] != tier:
        fail("tier", f"{plan['tier']!r} in the plan of {tier!r}")
    for part in ("buffers", "kernels"):
        names = [item["name"] for item in plan[part]]
        if len(set(names)) != len(names):
            fail(part, "a name occurs twice")
    for i, kernel in enumerate(plan["kernels"]):
        # The engine gives the last binding its uniform, and the launch's buffers to the others.
        if [b == "uniform" for b in kernel["bindings"]] != [False] * (len(kernel["bindings"]) - 1) + [True]:
            fail(f"kernels[{i}].bindings", "the last binding, and only that, is a uniform")
    for name, entry in plan["entries"].items():
        for i, launch in enumerate(entry["launches"]):
            field = f"entries.{name}.launches[{i}]"
            if launch["kernel"] >= len(plan["kernels"]):
                fail(f"{field}.kernel", f"{launch['kernel']}, but there are {len(plan['kernels'])} kernels")
            kernel = plan["kernels"][launch["kernel"]]
            if len(launch["args"]) != len(kernel["bindings"]) - 1:
                fail(f"{field}.args", f"{len(launch['args'])} for {len(kernel['bindings']) - 1} bindings")
            if any(arg >= len(plan["buffers"]) for arg in launch["args"]):
                fail(f"{field}.args", f"an index past the {len(plan['buffers'])} buffers")
            if kernel["uniform_words"] + 3 > entry["record_words"]:
                fail(f"entries.{name}.record_words", f"too few for the uniform of {kernel['name']}")
