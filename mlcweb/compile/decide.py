"""Makes a job of a request: opens the checkpoint, takes defaults, and refuses what cannot be compiled.

All of it is quick, so a wrong option or a damaged checkpoint is reported before any work is spent on it.
"""

from __future__ import annotations

import re
from dataclasses import fields, replace

from mlcweb.calibrate import Text
from mlcweb.compile.adapt import merged
from mlcweb.compile.fit import check_fit
from mlcweb.compile.images import image_facts
from mlcweb.compile.job import Job
from mlcweb.compile.keep import has_types, keep_file_types
from mlcweb.compile.request import CompileRequest
from mlcweb.compile.scales import calibration, check_scales
from mlcweb.compile.source import open_source
from mlcweb.compile.texts import check_text_options, default_text_context, find_task, make_text_job
from mlcweb.contract.constants import KV_CACHE_DTYPES
from mlcweb.debug import CHOICE, logger
from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.kernels.choice.choose import has_matrix
from mlcweb.kernels.choice.tier import TIERS, Tier, tiers_for
from mlcweb.models import Decoder, DecoderConfig, architecture, declare_model
from mlcweb.progress import Progress
from mlcweb.quantize import AS_IT_IS, Scheme, get_scheme
from mlcweb.quantize.suited import suited
from mlcweb.recipes import Recipe
from mlcweb.reference.prompt import PromptRenderer
from mlcweb.sources import Checkpoint, require, with_matrices, with_prefix
from mlcweb.sources.generation import read_generation

DEFAULT_CONTEXT = 4096
_log = logger("compile.decide")
DEFAULT_PROMPT = "What is the capital of France?"
_PART_NUMBER = re.compile(r"-\d{5}-of-\d{5}$")  # of a model in several .gguf files
_LONGEST_NAME = 200  # file systems admit 255 bytes, and the folder has a longer name while it is written


def decide(request: CompileRequest, progress: Progress) -> Job:
    """Everything that is known before the work begins. Raises an MlcwebError naming what is wrong."""
    text = _check_options(request)
    progress.start("open")
    recipe, checkpoint = open_source(request, progress)
    config_class, model_class = architecture(checkpoint.config)
    config = config_class.from_hf(checkpoint.config)
    if recipe is not None:
        _compare(config, config_class.from_hf(recipe.config), recipe.name, progress)
        checkpoint = replace(checkpoint, licence=recipe.licence)
    check_fit(config, checkpoint.tensors)
    texts = make_text_job(find_task(request, recipe, checkpoint), checkpoint, recipe, config, model_class)
    task = texts.task if texts else None
    model = declare_model(model_class, config, texts=task)
    checkpoint = with_matrices(with_prefix(checkpoint, model.prefix))
    if request.adapter is not None:
        checkpoint = merged(checkpoint, request.adapter, model, progress)
        config = config_class.from_hf(checkpoint.config)
        model = declare_model(model_class, config, texts=task)
    require(checkpoint, model.shapes(), unused=model.unused())
    _check_eos(checkpoint, config)
    read_generation(checkpoint.tokenizer_files)  # refuses here what it would refuse after the work
    quantization = request.quantization or _default_quantization(checkpoint, model, progress)
    scheme = get_scheme(quantization)
    if scheme.as_it_is:
        checkpoint, scheme = keep_file_types(checkpoint, model, progress)
    tiers = _tiers(request, scheme)
    if texts is not None:
        check_text_options(request)
    if request.matrix:
        _check_matrix(scheme, tiers, config)
    possible = not texts and not config.mixture and any(has_matrix(scheme, tier) for tier in tiers)
    usual = default_text_context(checkpoint) if texts else DEFAULT_CONTEXT
    context = _context(request, recipe, config, usual)
    chunk = request.prefill_chunk or (recipe and recipe.prefill_chunk) or default_chunk(config)
    base = recipe.bundle_name if recipe else as_name(_origin(checkpoint))
    if request.adapter is not None:
        base += f"-{as_name(checkpoint.source['adapter'])}"
    prompt = recipe.prompt if recipe else DEFAULT_PROMPT
    kv_cache_dtype = request.kv_cache_dtype or (recipe.kv_cache_dtype if recipe else None)
    sees = model.images is not None
    chunk = max(chunk, context) if texts else min(chunk, context)
    renderer = PromptRenderer(checkpoint.tokenizer_files, parts=sees)
    _log.log(
        CHOICE,
        "%s as %s: tiers %s, context of %d tokens",
        *(model_class.__name__, scheme.name, [tier.name for tier in tiers], context),
    )
    return Job(
        checkpoint=checkpoint,
        config=config,
        model_class=model_class,
        scheme=scheme,
        tiers=tiers,
        context=context,
        chunk=chunk,
        kv_cache_dtype=next((dtype for dtype in KV_CACHE_DTYPES if dtype == kv_cache_dtype), None),
        name=request.name or f"{base}-{scheme.name}",
        licence=checkpoint.licence,
        prompt=prompt,
        prompt_tokens=() if texts else _prompt_tokens(renderer, prompt, config, context),
        renderer=renderer,
        matrix=possible if request.matrix is None else request.matrix,
        evaluate=request.evaluate,
        calibration=None if texts else calibration(request, text, scheme, renderer, config.vocab_size),
        texts=texts,
        images=image_facts(checkpoint, model, renderer, context, chunk) if sees else None,
    )


def _default_quantization(checkpoint: Checkpoint, model: Decoder, progress: Progress) -> str:
    """A GGUF file keeps its types; for others the model's size decides."""
    if has_types(checkpoint):
        name, reason = AS_IT_IS, "the file's own types, each tensor as it is"
    else:
        name, reason = suited(model.weight_count, texts=model.text_head is not None)
    progress.note(f"quantization {name}: {reason}; --quant takes another")
    return name


def _check_options(request: CompileRequest) -> Text | None:
    """Refuse wrong options before anything is fetched; returns the text to calibrate on, if the user gave one."""
    if request.quantization is not None:
        _tiers(request, get_scheme(request.quantization))
    for option, value in (("context", request.context_length), ("prefill-chunk", request.prefill_chunk)):
        if value is not None and value < 1:
            raise UnsupportedError(f"--{option} {value} is not a positive number of tokens")
    if request.kv_cache_dtype not in (None, *KV_CACHE_DTYPES):
        raise UnsupportedError(
            f"--kv-cache-dtype {request.kv_cache_dtype} is not supported",
            hint=f"Give {' or '.join(KV_CACHE_DTYPES)}.",
        )
    name = request.name
    if name is not None and (
        not name.strip() or name.startswith(".") or set("/\\") & set(name) or len(name) > _LONGEST_NAME
    ):
        raise UnsupportedError(
            f"--name {name!r} cannot name a bundle",
            hint="It is a folder's name, without slashes or a leading dot; --out says where the folder goes.",
        )
    return check_scales(request)


def _compare(config: DecoderConfig, expected: DecoderConfig, recipe: str, progress: Progress) -> None:
    """Note where a recipe and its checkpoint differ. It stops nothing: a revision may change a model."""
    differences = [
        f"{field.name} is {getattr(config, field.name)}, not {getattr(expected, field.name)}"
        for field in fields(config)
        if getattr(config, field.name) != getattr(expected, field.name)
    ]
    if differences:
        progress.note(
            f"the checkpoint is not what the recipe {recipe} says: {'; '.join(differences)}. "
            "The checkpoint's is compiled; sizes in `mlcweb list` are the recipe's"
        )


def _context(request: CompileRequest, recipe: Recipe | None, config: DecoderConfig, usual: int) -> int:
    longest = config.longest_context
    if request.context_length is None:
        return min(recipe.context_length if recipe else usual, longest)
    if request.context_length > longest:
        raise UnsupportedError(
            f"--context {request.context_length} is longer than the model's {longest} tokens",
            hint=f"Give at most --context {longest}.",
        )
    return request.context_length


def default_chunk(config: DecoderConfig) -> int:
    """Tokens of a prefill chunk: a small model needs more to fill a GPU; scratch grows with chunk times width."""
    chunk = 512
    while chunk < 2048 and 2 * chunk * config.hidden_size <= 5 << 18:
        chunk *= 2
    return chunk


def _tiers(request: CompileRequest, scheme: Scheme) -> tuple[Tier, ...]:
    possible = tiers_for(scheme.float16)
    if not request.tiers:
        return possible
    for name in request.tiers:
        if name in {tier.name for tier in possible}:
            continue
        if name in {tier.name for tier in TIERS}:
            why = f"tier {name} computes in float16, and {scheme.name} in float32"
        else:
            why = f"there is no tier {name!r}"
        known = ", ".join(tier.name for tier in possible)
        raise UnsupportedError(why, hint=f"{scheme.name} can have these tiers: {known}.")
    return tuple(tier for tier in possible if tier.name in request.tiers)


def _check_matrix(scheme: Scheme, tiers: tuple[Tier, ...], config: DecoderConfig) -> None:
    if config.mixture:
        raise UnsupportedError(
            "--matrix: a mixture of experts has no products on subgroup matrices",
            hint="Compile it without --matrix.",
        )
    if any(has_matrix(scheme, tier) for tier in tiers):
        return
    possible = [tier.name for tier in tiers_for(scheme.float16) if has_matrix(scheme, tier)]
    if possible:
        raise UnsupportedError(
            f"--matrix is for the tier {possible[0]} of {scheme.name}, which --tier leaves out",
            hint=f"Add --tier {possible[0]}, or leave --matrix out.",
        )
    raise UnsupportedError(
        f"--matrix multiplies weights in groups of 32, and {scheme.name} has others",
        hint="Give --quant q4f16_1 or q4f32_1, or leave --matrix out.",
    )


def _check_eos(checkpoint: Checkpoint, config: DecoderConfig) -> None:
    for token in checkpoint.eos_token_ids:
        if not 0 <= token < config.vocab_size:
            raise CheckpointError(
                f"the stop token {token} is outside the model's vocabulary of {config.vocab_size}",
                hint="config.json, generation_config.json or the tokenizer belongs to another model.",
            )


def _prompt_tokens(
    renderer: PromptRenderer, prompt: str, config: DecoderConfig, context: int
) -> tuple[int, ...]:
    tokens = tuple(renderer.tokens(prompt))
    if not tokens or max(tokens) >= config.vocab_size:
        what = f"the token {max(tokens)}" if tokens else "no tokens"
        raise CheckpointError(
            f"the tokenizer makes {what} of {prompt!r}; the vocabulary has {config.vocab_size} tokens",
            hint="tokenizer.json belongs to another model.",
        )
    if len(tokens) >= context:
        raise UnsupportedError(
            f"--context {context} leaves no room for an answer to {prompt!r}, which takes {len(tokens)} tokens",
            hint=f"Give at least --context {len(tokens) + 1}.",
        )
    return tokens


def _origin(checkpoint: Checkpoint) -> str:
    source = checkpoint.source
    return source.get("file") or source.get("id") or source.get("name") or ""


def as_name(source: str) -> str:
    """A bundle's name after where it came from: the last part of a hub id or path, made fit for a folder."""
    base = source.rstrip("/").split("/")[-1]
    if base.lower().endswith(".gguf"):
        base = _PART_NUMBER.sub("", base[: -len(".gguf")])
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in base).strip(".-") or "model"
