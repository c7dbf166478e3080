"""What a bundle holds and needs, JSON-able: files, kernels, launches, GPU memory by context length."""

from __future__ import annotations

from typing import Any

from mlcweb.bundle.manifest import Tier
from mlcweb.bundle.reader import Bundle

# The default minUniformBufferOffsetAlignment: what one launch takes of an entry's uniform buffer.
UNIFORM_STRIDE = 256


def facts(bundle: Bundle) -> dict[str, Any]:
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


def summary(bundle: Bundle) -> dict[str, str]:
    """The same in a few rows for people: label to text. Raises BundleError for a damaged plan."""
    manifest = bundle.manifest
    model = manifest.model
    rows = {
        "name": manifest.name,
        "model": f"{model.family}, {model.parameters / 1e6:,.0f} M parameters, {model.quantization}",
        "context": f"{model.context_length} tokens, prefill in chunks of {model.prefill_chunk}",
        "licence": model.licence or "unknown",
        "source": ", ".join(f"{key} {value}" for key, value in model.source.items()),
        "made by": manifest.created_by,
        "files": f"{len(manifest.files)}, {_megabytes(sum(f.bytes for f in manifest.files.values()))}, "
        f"of which weights {_megabytes(manifest.weights.bytes)} in {len(manifest.weights.chunks)} chunks",
    }
    for tier in manifest.tiers:
        found = _tier(bundle, tier)
        launches = ", ".join(f"{count} a {entry}" for entry, count in found["launches"].items())
        memory = ", ".join(f"{_megabytes(m['total'])} at {m['context']}" for m in found["memory"])
        needs = [*tier.features, *(f"{name} {value}" for name, value in tier.limits.items())]
        rows[f"tier {tier.name}"] = (
            f"needs {', '.join(needs) or 'nothing beyond WebGPU'}; {found['pipelines']} pipelines; "
            f"launches: {launches}; GPU memory by context: {memory}"
        )
    return rows


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


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
