"""Says what a bundle holds and needs, for JSON: files, kernels, launches, GPU memory by context length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from difflib import get_close_matches
from typing import Any

from mlcweb.bundle.manifest import TierFacts
from mlcweb.bundle.readable_plan import kernel_bindings, readable_plan
from mlcweb.bundle.reader import Bundle
from mlcweb.contract.constants import RECURRENT_COPIES
from mlcweb.contract.plan import Plan
from mlcweb.errors import BundleError

_LATE = ("prefill_few", "penalize", "count")  # made when an answer first needs them
# The default minUniformBufferOffsetAlignment: what one launch takes of an entry's uniform buffer.
UNIFORM_STRIDE = 256

# Tokens of KV cache that the engine allocates at load (runtime-js/src/decode/kv_growth.ts).
FIRST_TOKENS = 1024


def facts(bundle: Bundle, contexts: Sequence[int] = ()) -> dict[str, Any]:
    """Facts of the bundle; sizes in bytes, ``tiers`` best first. ``contexts`` are the context lengths to tell memory
    for, by default those of ``context_lengths``. Raises BundleError for a damaged plan."""
    manifest = bundle.manifest
    model = manifest.model
    return {
        "name": manifest.name,
        "created_by": manifest.created_by,
        "path": str(bundle.path),
        "model": {**vars(model), "source": dict(model.source)},
        "quality": asdict(manifest.quality) if manifest.quality else None,
        "images": asdict(manifest.images) if manifest.images else None,
        "answers": asdict(manifest.answers) if manifest.answers else None,
        "generation": asdict(manifest.generation) if manifest.generation else None,
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
        "tiers": [_tier(bundle, tier, contexts) for tier in manifest.tiers],
    }


def kernel_facts(bundle: Bundle, name: str, tiers: Sequence[str]) -> dict[str, Any]:
    """A kernel on each of ``tiers`` that has it: WGSL, bindings, and its launches by entry, with their numbers there.

    Raises BundleError, with near names, where none of them has it.
    """
    sources = {tier: bundle.kernels(tier) for tier in tiers}
    kernels = [_kernel(bundle, tier, name, wgsl[name]) for tier, wgsl in sources.items() if name in wgsl]
    if not kernels:
        known = sorted({known for wgsl in sources.values() for known in wgsl})
        holding = [other for other in known if name and name.lower() in other]
        near = get_close_matches(name, known, 3, 0.5) or holding[:3]
        where = f"tier {tiers[0]}" if len(tiers) == 1 else "the bundle"
        raise BundleError(
            f"{where} has no kernel {name!r}",
            hint=f"Did you mean {', '.join(near)}?" if near else "`mlcweb inspect BUNDLE --plan` names them.",
        )
    return {"name": name, "tiers": kernels}


def _kernel(bundle: Bundle, tier: str, name: str, wgsl: str) -> dict[str, Any]:
    plan = bundle.plan(tier)
    access = next((kernel["bindings"] for kernel in plan["kernels"] if kernel["name"] == name), [])
    names = kernel_bindings(wgsl)
    bindings = [
        {"binding": i, "access": mode, **(names[i] if i < len(names) else {"name": "", "type": ""})}
        for i, mode in enumerate(access)
    ]
    launches = {
        entry: [
            {"number": number, **launch}
            for number, launch in enumerate(facts["launches"])
            if launch["kernel"] == name
        ]
        for entry, facts in readable_plan(bundle, tier)["entries"].items()
    }
    used = {entry: numbers for entry, numbers in launches.items() if numbers}
    return {"tier": tier, "bindings": bindings, "launches": used, "wgsl": wgsl.partition("\n")[2]}


def context_lengths(longest: int) -> list[int]:
    """The context lengths to tell memory for: powers of two from 1024, and the model's longest."""
    lengths = []
    length = 1024
    while length < longest:
        lengths.append(length)
        length *= 2
    return [*lengths, longest]


def gpu_memory(plan: Plan, context: int, page_size: int) -> dict[str, int]:
    """GPU bytes as the engine allocates them, by its kinds, when the KV cache has grown to ``context`` tokens.

    ``kv_at_load`` and ``total_at_load`` are what it begins with. Read-back buffers are not counted: the engine makes
    them as it needs them, 32 bytes for a step in flight, and ``vocab_size`` floats for a host that samples. Nor are
    entries that few answers need (``_LATE``), which take as much as a prefill. Of several prefills it is the one with
    the most launches; with float activations it is a few hundred bytes a layer less.
    """
    kinds = ("weight", "kv", "recurrent", "input", "output", "scratch", "uniform")
    sizes = dict.fromkeys((*kinds, "kv_at_load"), 0)
    for buffer in plan["buffers"]:
        if buffer["kind"] == "kv":
            sizes["kv"] += _allocated(buffer["page_bytes"] * min(-(-context // page_size), buffer["pages"]))
            first = -(-min(context, FIRST_TOKENS) // page_size)
            sizes["kv_at_load"] += _allocated(buffer["page_bytes"] * min(first, buffer["pages"]))
        else:
            copies = 1 + RECURRENT_COPIES if buffer["kind"] == "recurrent" else 1
            sizes[buffer["kind"]] += copies * _allocated(buffer["bytes"])
    prefill = 0
    for name, entry in plan["entries"].items():
        if name in _LATE:
            continue
        words = max(
            (plan["kernels"][launch["kernel"]]["uniform_words"] for launch in entry["launches"]), default=0
        )
        stride = -(-max(16, 4 * words) // UNIFORM_STRIDE) * UNIFORM_STRIDE
        size = stride * len(entry["launches"])
        if entry["dims"]:  # a prefill, of which the engine keeps one
            prefill = max(prefill, size)
        else:
            sizes["uniform"] += size
    sizes["uniform"] += prefill
    sizes["total"] = sum(sizes[kind] for kind in kinds)
    sizes["total_at_load"] = sizes["total"] - sizes["kv"] + sizes["kv_at_load"]
    return sizes


def _allocated(size: int) -> int:
    """A buffer's size on the GPU: whole words, 16 bytes at least."""
    return max(16, -(-size // 4) * 4)


def _tier(bundle: Bundle, tier: TierFacts, contexts: Sequence[int]) -> dict[str, Any]:
    plan = bundle.plan(tier.name)
    wgsl = bundle.kernels(tier.name)
    launched = {launch["kernel"] for entry in plan["entries"].values() for launch in entry["launches"]}
    model = bundle.manifest.model
    return {
        "name": tier.name,
        "features": list(tier.features),
        "limits": dict(tier.limits),
        "kv_cache_dtype": tier.kv_cache_dtype,
        "kernels": [
            {"name": name, "wgsl_bytes": len(wgsl[name].encode()) if name in wgsl else 0}
            for name in wgsl or bundle.kernel_names(tier.name)
        ],
        "pipelines": len(launched) if wgsl else 0,
        "launches": {name: len(entry["launches"]) for name, entry in plan["entries"].items()},
        "needs": {name: entry["needs"] for name, entry in plan["entries"].items() if "needs" in entry},
        "memory": [
            {"context": context, **gpu_memory(plan, context, model.page_size)}
            for context in contexts or context_lengths(model.context_length)
        ],
    }
