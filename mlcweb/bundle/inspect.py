"""What a bundle holds and needs, JSON-able: files, kernels, launches, GPU memory by context length."""

from __future__ import annotations

from typing import Any

from mlcweb.bundle.manifest import Tier
from mlcweb.bundle.reader import Bundle

# The default minUniformBufferOffsetAlignment: what one launch takes of an entry's uniform buffer.
UNIFORM_STRIDE = 256


def inspect_bundle(bundle: Bundle) -> dict[str, Any]:
    """Facts of the bundle; sizes in bytes, ``tiers`` best first. Raises BundleError for a damaged plan."""
    manifest = bundle.manifest
    model = manifest.model
    return {
        "name": manifest.name,
        "created_by": manifest.created_by,
        "path": str(bundle.path),
        "model": {**vars(model), "source": dict(model.source)},
        "bytes": sum(entry.bytes for entry in manifest.files.values()),
        "files": [
            {"name": name, "bytes": entry.bytes, "sha256": entry.sha256}
            for name, entry in sorted(manifest.files.items())
        ],
        "weights": {
            "bytes": manifest.weights.bytes,
            "chunks": len(manifest.weights.chunks),
            "tensors": len(manifest.weights.tensors),
        },
        "tiers": [_tier(bundle, tier) for tier in manifest.tiers],
    }


def context_lengths(longest: int) -> list[int]:
    """The context lengths to tell memory for: powers of two from 1024, and the model's longest."""
    lengths = []
    length = 1024
    while length < longest:
        lengths.append(length)
        length *= 2
    return [*lengths, longest]


def gpu_memory(plan: dict[str, Any], context: int, page_size: int) -> dict[str, int]:
    """GPU bytes by kind, as the engine allocates: whole KV pages for ``context`` tokens."""
    pages = -(-context // page_size)
    found = {"weights": 0, "kv": 0, "scratch": 0, "io": 0}
    for buffer in plan["buffers"]:
        if buffer["kind"] == "kv":
            found["kv"] += buffer["page_bytes"] * min(pages, buffer["pages"])
        else:
            kind = {"weight": "weights", "scratch": "scratch"}.get(buffer["kind"], "io")
            found[kind] += buffer["bytes"]
    for entry in plan["entries"].values():
        found["io"] += UNIFORM_STRIDE * len(entry["launches"])
    found["total"] = sum(found.values())
    return found


def _tier(bundle: Bundle, tier: Tier) -> dict[str, Any]:
    plan = bundle.plan(tier.name)
    kernels = bundle.kernels(tier.name)
    launched = {launch["kernel"] for entry in plan["entries"].values() for launch in entry["launches"]}
    model = bundle.manifest.model
    return {
        "name": tier.name,
        "features": list(tier.features),
        "limits": dict(tier.limits),
        "kernels": [{"name": name, "wgsl_bytes": len(source.encode())} for name, source in kernels.items()],
        "pipelines": len(launched),
        "launches": {name: len(entry["launches"]) for name, entry in plan["entries"].items()},
        "memory": [
            {"context": context, **gpu_memory(plan, context, model.page_size)}
            for context in context_lengths(model.context_length)
        ],
    }
