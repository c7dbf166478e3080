"""Shows a plan to people: buffers with their shapes, and each launch with the buffers it binds by name.

``mlcweb inspect --plan`` and ``--kernel`` print it from a bundle, and ``mlcweb compile --dump`` writes it to plan.txt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlcweb.bundle.reader import Bundle
from mlcweb.numbers import size

_BINDING = re.compile(r"@binding\((\d+)\) var<(?:storage, (?:read|read_write)|uniform)> (\w+) : ([^;]+);")
# Types of the buffers that the engine and the kernels share (docs/bundle-format.md).
_SHARED = {"input": "int32", "output": "float32"}


def readable_plan(
    bundle: Bundle, tier: str, kernels: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """A tier's plan with names in place of indices, JSON-able.

    ``kernels``: by name, what a dump knows and a bundle has only as machine code: the ``grid`` in workgroups, an
    expression an axis, and the ``workgroup``'s invocations. Raises BundleError for a damaged plan or kernels file.
    """
    plan = bundle.plan(tier)
    known = kernels or {}
    bindings = {name: kernel_bindings(source) for name, source in bundle.kernels(tier).items()}
    tensors = {tensor.name: tensor for tensor in bundle.manifest.weights.tensors}

    def buffer(described: Mapping[str, Any]) -> dict[str, Any]:
        tensor, kind = tensors.get(described["name"]), described["kind"]
        if kind == "weight" and tensor is not None:
            return {**described, "dtype": tensor.dtype, "shape": list(tensor.shape)}
        if kind in _SHARED:
            return {**described, "dtype": _SHARED[kind], "shape": [described["bytes"] // 4]}
        return dict(described)

    def launch(described: Mapping[str, Any]) -> dict[str, Any]:
        kernel = plan["kernels"][described["kernel"]]
        names = bindings.get(kernel["name"], [])
        bound: dict[str, list[dict[str, str]]] = {"reads": [], "writes": []}
        for i, (access, at) in enumerate(zip(kernel["bindings"], described["args"], strict=False)):
            name = names[i]["name"] if i < len(names) else str(i)
            bound["writes" if access == "storage" else "reads"].append(
                {"binding": name, "buffer": plan["buffers"][at]["name"]}
            )
        told = {key: described[key] for key in ("op", "layer") if key in described}
        return {"kernel": kernel["name"], **told, **known.get(kernel["name"], {}), **bound}

    return {
        "tier": tier,
        "buffers": [buffer(described) for described in plan["buffers"]],
        "entries": {
            name: {
                "dims": entry["dims"],
                **({"needs": entry["needs"]} if "needs" in entry else {}),
                "launches": [launch(described) for described in entry["launches"]],
            }
            for name, entry in plan["entries"].items()
        },
    }


def kernel_bindings(wgsl: str) -> list[dict[str, str]]:
    """What a kernel binds, in order: its parameter's ``name`` and the WGSL ``type``; the uniform is the last."""
    bindings = sorted((int(at), name, kind) for at, name, kind in _BINDING.findall(wgsl))
    return [{"name": name.removesuffix("_ptr"), "type": kind} for _, name, kind in bindings]


def plan_text(plan: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a plan that ``readable_plan`` made."""
    buffers = plan["buffers"]
    yield f"tier {plan['tier']}: {len(buffers)} buffers"
    rows = [("BUFFER", "KIND", "BYTES", "SHAPE")]
    rows += [(b["name"], b["kind"], f"{_bytes(b):,}", _shape(b)) for b in buffers]
    yield from _aligned(rows, right={2})
    for name, entry in plan["entries"].items():
        launches = entry["launches"]
        dims = f" of {', '.join(entry['dims'])}" if entry["dims"] else ""
        yield ""
        yield f"{name}{dims}: {len(launches)} launches{_needs(entry.get('needs'))}"
        yield from launch_lines(list(enumerate(launches)))


def launch_lines(launches: Sequence[tuple[int, Mapping[str, Any]]]) -> Iterator[str]:
    """A table of launches, each with its number in the entry."""
    columns = {"op": "OP", "layer": "LAYER", "grid": "GRID", "workgroup": "WORKGROUP"}
    shown = {key: title for key, title in columns.items() if any(key in launch for _, launch in launches)}
    rows = [("#", "KERNEL", *shown.values(), "READS -> WRITES")]
    for number, launch in launches:
        told = [_told(launch.get(key, "")) for key in shown]
        rows.append(
            (str(number), launch["kernel"], *told, f"{_bound(launch['reads'])} -> {_bound(launch['writes'])}")
        )
    yield from _aligned(rows, right={0})


def _told(value: Any) -> str:
    return " x ".join(value) if isinstance(value, list) else str(value)


def _bound(bindings: Sequence[Mapping[str, str]]) -> str:
    return " ".join(f"{bound['binding']}={bound['buffer']}" for bound in bindings)


def _bytes(buffer: Mapping[str, Any]) -> int:
    """Its bytes; of a KV cache, with all its pages."""
    return int(buffer["page_bytes"] * buffer["pages"] if buffer["kind"] == "kv" else buffer["bytes"])


def _shape(buffer: Mapping[str, Any]) -> str:
    if buffer["kind"] == "kv":
        return f"{buffer['pages']} pages of {size(buffer['page_bytes'])}"
    if "shape" not in buffer:
        return "shared: one tensor after another"
    return f"{buffer['dtype']} [{', '.join(map(str, buffer['shape']))}]"


def _needs(needs: Mapping[str, Any] | None) -> str:
    return f", and more than the tier: {', '.join(needs['features'])}" if needs else ""


def _aligned(rows: Sequence[Sequence[str]], *, right: set[int]) -> Iterator[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [
            f"{c:>{w}}" if i in right else f"{c:<{w}}"
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(["", *cells]).rstrip()
