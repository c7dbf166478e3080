"""``mlcweb inspect`` shows what a bundle holds and needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlcweb.cli.options import TIERS, bundle_argument, verb
from mlcweb.cli.output import Output
from mlcweb.contract.tiers import CPU_TIERS
from mlcweb.numbers import size

if TYPE_CHECKING:
    from mlcweb.bundle import Bundle


@verb("inspect")
@bundle_argument
@click.option(
    "--context",
    "contexts",
    type=click.IntRange(1),
    multiple=True,
    help="Show the GPU memory that this context length needs; may be repeated.",
)
@click.option("--plan", is_flag=True, help="Show only the plan: its buffers, and the launches of each entry.")
@click.option("--kernel", metavar="NAME", help="Show only this kernel: its launches, bindings and WGSL.")
@click.option(
    "--tier",
    "tiers",
    type=click.Choice(TIERS),
    multiple=True,
    help="With --plan or --kernel, show only this tier; may be repeated.",
)
def command(
    output: Output,
    bundle: Path,
    contexts: tuple[int, ...],
    plan: bool,
    kernel: str | None,
    tiers: tuple[str, ...],
) -> None:
    """Show a bundle's model, tiers, files and memory.

    With --plan, shows what the engine replays. With --kernel, shows one kernel's code.

    \b
    Example:
      mlcweb inspect SmolLM2-135M-Instruct-q4f32_1
      mlcweb inspect dist/SmolLM2-135M-Instruct-q4f32_1 --format json
      mlcweb inspect SmolLM2-135M-Instruct-q4f32_1 --context 3000
      mlcweb inspect SmolLM2-135M-Instruct-q4f32_1 --plan --tier base
      mlcweb inspect SmolLM2-135M-Instruct-q4f32_1 --kernel decode_qkv
    """
    from mlcweb.bundle import open_bundle
    from mlcweb.bundle.inspect import facts as bundle_facts
    from mlcweb.errors import UnsupportedError

    _check_options(contexts, plan, kernel, tiers)
    opened = open_bundle(bundle)
    if plan or kernel is not None:
        names = [opened.tier(tier).name for tier in tiers] or [tier.name for tier in opened.manifest.tiers]
        if kernel is None:
            _show_plans(output, opened, names)
        else:
            _show_kernel(output, opened, kernel, names)
        return
    longest = opened.manifest.model.context_length
    for context in contexts:
        if context > longest:
            raise UnsupportedError(
                f"--context {context} is longer than the bundle's {longest} tokens",
                hint=f"Give at most {longest}, or compile with a larger --context.",
            )
    facts = bundle_facts(opened, contexts)
    output.data(facts, lambda: _text(output, facts))


def _check_options(contexts: tuple[int, ...], plan: bool, kernel: str | None, tiers: tuple[str, ...]) -> None:
    """Each option is honoured or refused."""
    if plan and kernel is not None:
        raise click.UsageError("give --plan or --kernel, not both")
    shown = "--plan" if plan else "--kernel" if kernel is not None else None
    if shown and contexts:
        raise click.UsageError(f"--context is about GPU memory, which {shown} does not show")
    if tiers and not shown:
        raise click.UsageError("--tier needs --plan or --kernel: without them every tier is shown")


def _show_plans(output: Output, bundle: Bundle, tiers: Sequence[str]) -> None:
    from mlcweb.bundle.readable_plan import plan_text, readable_plan

    plans = [readable_plan(bundle, tier) for tier in tiers]

    def text() -> None:
        for i, plan in enumerate(plans):
            if i:
                output.line()
            for line in plan_text(plan):
                output.line(line)

    output.data({"name": bundle.manifest.name, "plans": plans}, text)


def _show_kernel(output: Output, bundle: Bundle, name: str, tiers: Sequence[str]) -> None:
    from mlcweb.bundle.inspect import kernel_facts
    from mlcweb.bundle.readable_plan import launch_lines

    facts = kernel_facts(bundle, name, tiers)

    def text() -> None:
        shown: dict[str, str] = {}
        for i, tier in enumerate(facts["tiers"]):
            if i:
                output.line()
            output.line(f"tier {tier['tier']}: {name}")
            rows = [(str(b["binding"]), b["name"], b["access"], b["type"]) for b in tier["bindings"]]
            output.table(("BINDING", "NAME", "ACCESS", "TYPE"), rows)
            for entry, launches in tier["launches"].items():
                output.line()
                output.line(f"{entry}: {len(launches)} of its launches")
                for line in launch_lines([(launch["number"], launch) for launch in launches]):
                    output.line(line)
            output.line()
            same = shown.setdefault(tier["wgsl"], tier["tier"])
            output.line(tier["wgsl"].rstrip() if same == tier["tier"] else f"WGSL as on tier {same}")

    output.data(facts, text)


def _pictures(images: Mapping[str, Any]) -> str:
    """What a picture is for the model."""
    pixels = f"{images['tile']} x {images['tile']} pixels"
    rows = (images["tile"] // images["patch"] // images["merge"]) ** 2
    shape = f"in tiles of {pixels}" if images["longest_edge"] else f"resized to {pixels}"
    return f"{shape}, {rows} tokens each"


def _text(output: Output, facts: Mapping[str, Any]) -> None:
    from mlcweb.bundle import Quality
    from mlcweb.evaluate.lines import quality_line

    model = facts["model"]
    scales = f" with {model['scales']} scales" if model.get("scales") else ""
    kind = f"{model['family']}, {model['quantization']}{scales}, {model['parameters']:,} parameters"
    shape = (
        f"{model['layers']} layers of {model['hidden_size']}, {model['heads']} heads ({model['kv_heads']} KV)"
    )
    said = quality_line(Quality(**facts["quality"])) if facts["quality"] else "not measured"
    source = [f"{key}={value}" for key, value in model["source"].items() if not key.startswith("adapter")]
    adapter = [value for key, value in sorted(model["source"].items()) if key.startswith("adapter")]
    output.facts(
        {
            "name": facts["name"],
            "model": kind,
            "shape": f"{shape}, vocabulary {model['vocab_size']}",
            "context": f"{model['context_length']} tokens, prefill in chunks of {model['prefill_chunk']}",
            **({"pictures": _pictures(facts["images"])} if facts["images"] else {}),
            "source": " ".join(source),
            **({"adapter": " at ".join(adapter)} if adapter else {}),
            "licence": model["licence"] or "not stated",
            "made by": facts["created_by"],
            "quality": said,
            "files": f"{len(facts['files'])}, {size(facts['bytes'])}",
            "weights": f"{facts['weights']['tensors']} tensors in {facts['weights']['chunks']} chunks",
        }
    )
    output.line()
    columns = ("TIER", "NEEDS", "KV CACHE", "PIPELINES", "LAUNCHES", "KERNELS")
    output.table(columns, [_tier_row(tier) for tier in facts["tiers"]])
    for tier in facts["tiers"]:
        for entry, needs in tier["needs"].items():
            output.line(f"{tier['name']}: {entry} also needs {_said(needs)}")
    output.line()
    lengths = facts["tiers"][0]["memory"]
    contexts = [f"{row['context']}" for row in lengths]
    output.table(
        ["GPU MEMORY", "AT LOAD", *(f"{context} TOKENS" for context in contexts)],
        [
            (t["name"], size(t["memory"][-1]["total_at_load"]), *(size(row["total"]) for row in t["memory"]))
            for t in facts["tiers"]
        ],
    )


def _said(needs: Mapping[str, Any]) -> str:
    unit = needs["subgroup_matrix"]
    shape = f"{unit['m']} x {unit['n']} x {unit['k']}"
    return ", ".join(
        [
            *needs["features"],
            f"subgroups of {needs['subgroup_size']}",
            f"{shape} matrices of {unit['component']} with sums in {unit['result']}",
            *(f"{name} {value}" for name, value in needs["limits"].items()),
        ]
    )


def _tier_row(tier: Mapping[str, Any]) -> tuple[str, ...]:
    needs = [*tier["features"], *(f"{name} {value}" for name, value in tier["limits"].items())]
    launches = ", ".join(f"{name} {count}" for name, count in tier["launches"].items())
    wgsl = sum(kernel["wgsl_bytes"] for kernel in tier["kernels"])
    return (
        tier["name"],
        ", ".join(needs) or ("WebAssembly with SIMD" if tier["name"] in CPU_TIERS else "any WebGPU"),
        tier["kv_cache_dtype"] or "not stated",
        str(tier["pipelines"]),
        launches,
        f"{len(tier['kernels'])}, {size(wgsl)}" if wgsl else str(len(tier["kernels"])),
    )
