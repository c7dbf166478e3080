"""Says what a tier takes, for the manifest: GPU memory, and what a decoded token reads and launches."""

from __future__ import annotations

from collections.abc import Mapping

from mlcweb.bundle.inspect import gpu_memory
from mlcweb.contract.manifest import TensorEntry, TierCost
from mlcweb.contract.plan import Launch, Plan


def tier_cost(plan: Plan, tensors: Mapping[str, TensorEntry], vocab: int, *, gpu: bool = True) -> TierCost:
    """Of a tier's plan, whose tensors are given by name; ``vocab`` is how many rows an embedding has.

    A CPU's memory (``gpu=False``) has no uniforms.
    """
    page_bytes = [buffer["page_bytes"] for buffer in plan["buffers"] if buffer["kind"] == "kv"]
    memory = gpu_memory(plan, context=1, page_size=1)  # the KV cache counts below
    steps = [plan["entries"][name] for name in ("decode", "sample") if name in plan["entries"]]
    launches = [launch for entry in steps for launch in entry["launches"]]
    return TierCost(
        weights=memory["weight"],
        kv_page=sum(page_bytes),
        kv_largest_page=max(page_bytes, default=0),
        other=memory["total"] - memory["weight"] - memory["kv"] - (0 if gpu else memory["uniform"]),
        token_weights=sum(_weights_read(plan, launch, tensors, vocab) for launch in launches),
        token_launches=len(launches),
    )


def _weights_read(plan: Plan, launch: Launch, tensors: Mapping[str, TensorEntry], vocab: int) -> int:
    """Bytes of weights that a launch reads for one token, as the profiler counts them
    (runtime-js/src/profile/work.ts): of an embedding its row, and of experts those that a token chooses."""
    reads = plan["kernels"][launch["kernel"]].get("reads", {})
    chosen = min(1, reads.get("choices", 1) / reads.get("experts", 1))
    total = 0.0
    for buffer in {index: plan["buffers"][index] for index in launch["args"]}.values():
        if buffer["kind"] == "weight" and not buffer["name"].startswith("rope."):
            tensor = tensors[buffer["name"]]
            total += tensor.bytes * (1 if len(tensor.shape) < 2 else chosen)
    return round(total / vocab if launch["op"] == "embed" else total)
