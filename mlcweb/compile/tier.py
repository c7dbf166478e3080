"""Lowers one tier, and holds its files as plain data, which the kernel cache and other processes can pass on."""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass, replace
from typing import Any

from mlcweb.compile.dump import TierDump
from mlcweb.compile.job import Job, compiler_digest
from mlcweb.contract.plan import Launch, Plan
from mlcweb.debug import CHOICE, logger
from mlcweb.kernel_cache import KernelCache
from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.layouts.kv_cache import PAGE_SIZE
from mlcweb.kernels.ops.entries import entry_points
from mlcweb.lower import Entries, lower_entries
from mlcweb.plan import KERNEL_MARK, build_plan
from mlcweb.wasm import build_cpu_module, compile_tables

_log = logger("compile.tier")


@dataclass(frozen=True)
class LoweredTier:
    """``plan`` is the plan as the bundle stores it; ``tables`` the object with its launch tables. The CPU's tier has
    ``modules`` of kernels instead of WGSL: that for any browser, and that for Relaxed SIMD.
    """

    tier: Tier
    plan: Plan
    wgsl: str
    tables: bytes
    modules: tuple[bytes, ...] = ()

    @property
    def exports(self) -> list[str]:
        """The wasm functions that ``tables`` defines."""
        return [entry["launch"] for entry in self.plan["entries"].values()]

    @property
    def kv_per_token(self) -> int:
        """Bytes of KV cache for a token."""
        return sum(int(b["page_bytes"]) for b in self.plan["buffers"] if b["kind"] == "kv") // PAGE_SIZE

    @property
    def scratch(self) -> int:
        """Bytes of all scratch buffers."""
        return sum(int(b["bytes"]) for b in self.plan["buffers"] if b["kind"] == "scratch")

    @property
    def largest_buffer(self) -> int:
        """Bytes of the largest buffer but the KV cache's, whose size follows the context the engine is asked for."""
        return max(int(b["bytes"]) for b in self.plan["buffers"] if b["kind"] != "kv")

    @property
    def rounds(self) -> bool:
        """Whether all entries round activations, as the CPU's tier does for quantized weights."""
        entries = self.plan["entries"].values()
        return all(any(launch["op"].startswith("round_") for launch in e["launches"]) for e in entries)

    @property
    def entries(self) -> list[str]:
        """The plan's entries."""
        return list(self.plan["entries"])

    def without(self, entry: str) -> LoweredTier:
        """The tier without one of its entries, and without the kernels that only it launches."""
        entries = {name: value for name, value in self.plan["entries"].items() if name != entry}
        used = sorted({launch["kernel"] for value in entries.values() for launch in value["launches"]})
        moved = {old: new for new, old in enumerate(used)}
        kernels = [self.plan["kernels"][old] for old in used]
        for name, value in entries.items():
            launches: list[Launch] = [
                {**launch, "kernel": moved[launch["kernel"]]} for launch in value["launches"]
            ]
            entries[name] = {**value, "launches": launches}
        start, *sections = self.wgsl.split(KERNEL_MARK)
        names = {kernel["name"] for kernel in kernels}
        wgsl = start + "".join(
            KERNEL_MARK + section for section in sections if section.split("\n", 1)[0] in names
        )
        return replace(self, plan={**self.plan, "kernels": kernels, "entries": entries}, wgsl=wgsl)

    def to_json(self) -> dict[str, Any]:
        """All but the tier, as JSON."""
        return {
            "plan": self.plan,
            "wgsl": self.wgsl,
            "tables": base64.b64encode(self.tables).decode(),
            "modules": [base64.b64encode(module).decode() for module in self.modules],
        }

    @classmethod
    def from_json(cls, tier: Tier, value: dict[str, Any]) -> LoweredTier:
        """The tier that ``to_json`` was called on."""
        modules = tuple(map(base64.b64decode, value["modules"]))
        return cls(tier, value["plan"], value["wgsl"], base64.b64decode(value["tables"]), modules)


def tier_key(job: Job, tier: Tier) -> Any:
    """What decides a lowered tier: shapes, options and the compiler, but neither weights nor names."""
    return {
        "compiler": compiler_digest(),
        "classes": [f"{c.__module__}.{c.__qualname__}" for c in (job.model_class, type(job.config))],
        "config": asdict(job.config),
        "scheme": asdict(job.scheme),
        "tier": asdict(tier),
        "context": job.context,
        "chunk": job.chunk,
        "kv_cache_dtype": job.kv_cache_dtype,
        "matrix": job.matrix,
        "texts": job.texts and asdict(job.texts.task),
    }


def lower_tier(job: Job, tier: Tier, cache: KernelCache | None, dump: TierDump | None = None) -> LoweredTier:
    """Lower one tier, with the kernels that ``cache`` has, and keep it there; ``dump`` gets what is made on the way.

    Raises CompileError.
    """
    if dump is not None:
        dump.begin()
    entries = _entries(job, tier, dump)
    _log.log(CHOICE, "tier %s: entries %s", tier.name, [point.name for point in entries.points])
    plan = build_plan(entries, tier, cache)
    if dump is not None:
        dump.kernels(entries, plan)
    modules: tuple[bytes, ...] = ()
    if tier.cpu:
        relaxed = _entries(job, replace(tier, relaxed=True))
        modules = (
            build_cpu_module(entries, plan, relaxed=False),
            build_cpu_module(relaxed, plan, relaxed=True),  # the plan is the same
        )
    lowered = LoweredTier(tier, plan.to_json(), plan.wgsl(), compile_tables(plan), modules)
    if cache is not None:
        cache.write(tier_key(job, tier), lowered.to_json())
    return lowered


def _entries(job: Job, tier: Tier, dump: TierDump | None = None) -> Entries:
    model, kind = job.model(tier), job.texts.task.kind if job.texts else None
    return lower_entries(
        model,
        tier,
        entry_points(job.scheme, tier, matrix=job.matrix, texts=kind, sees=model.images is not None),
        vocab=job.config.vocab_size,
        context=job.context,
        chunk=job.chunk,
        **({} if dump is None else {"observe": dump.phase}),
    )
