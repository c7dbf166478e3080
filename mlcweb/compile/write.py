"""From a job to a bundle: lower, quantize, run the host reference, and put the bundle in its place."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlcweb.bundle import BundleWriter, Manifest, MemoryFacts, ModelFacts, TokenizerFiles, open_bundle
from mlcweb.bundle import Tier as TierFacts
from mlcweb.compile.job import Job
from mlcweb.kernels.cache import PAGE_SIZE
from mlcweb.kernels.choose import has_int8
from mlcweb.kernels.tier import Tier
from mlcweb.lower import lower_entries
from mlcweb.lower.wgsl import MAX_BINDING_BYTES
from mlcweb.plan import Plan, build_plan
from mlcweb.progress import Progress
from mlcweb.quantize import packed_tensors, quantize_params
from mlcweb.quantize.stream import count_bytes
from mlcweb.reference import PackedWeights, make_validation
from mlcweb.sources import Checkpoint
from mlcweb.wasm import build_wasm

VALIDATION_STEPS = 16
_MAX_BUFFER_BYTES = 256 << 20  # WebGPU's default maxBufferSize


def write_bundle(job: Job, out_dir: Path, progress: Progress, stages: dict[str, float]) -> Manifest:
    """Make the bundle at ``out_dir``; ``stages`` gets each stage's seconds. Leaves all or nothing there."""
    weight_bytes = _weight_bytes(job)
    text_bytes = sum(map(len, job.checkpoint.tokenizer_files.values()))
    with BundleWriter(out_dir, expected_bytes=weight_bytes + text_bytes) as writer:
        # lowering comes first: it is quick, and what it refuses need not wait for the weights
        with timed(stages, "lower"):
            progress.start("lower", len(job.tiers))
            plans = [_lower(job, tier, progress) for tier in job.tiers]
            wasm = writer.add_file("model", "wasm", build_wasm(plans, job.chunk))
            tiers = [_add_tier(writer, job, plan) for plan in plans]
        with timed(stages, "quantize"):
            _quantize(writer, job, progress)
        with timed(stages, "reference"):
            validation = _add_validation(writer, job, progress)
        with timed(stages, "finish"):
            progress.start("finish")
            writer.finish(
                name=job.name,
                inputs=job.digest(),
                model=_model_facts(job),
                tokenizer=_add_tokenizer(writer, job.checkpoint),
                wasm=wasm,
                tiers=tiers,
                memory=MemoryFacts(
                    weights=weight_bytes,
                    kv_per_token=max(_kv_per_token(plan) for plan in plans),
                    scratch=max(plan.memory("scratch") for plan in plans),
                ),
                validation=validation,
            )
    return open_bundle(out_dir).manifest


@contextmanager
def timed(stages: dict[str, float], name: str) -> Iterator[None]:
    """Record a stage's seconds."""
    start = time.monotonic()
    yield
    stages[name] = time.monotonic() - start


def _weight_bytes(job: Job) -> int:
    model = job.model()
    tables = sum(table.nbytes for table in model.constants().values())
    params = model.params()
    return tables + sum(tensor.nbytes for param in params for tensor in packed_tensors(param, job.scheme))


def _lower(job: Job, tier: Tier, progress: Progress) -> Plan:
    entries = lower_entries(
        job.model(tier),
        tier,
        vocab=job.config.vocab_size,
        context=job.context,
        chunk=job.chunk,
        int8=has_int8(job.scheme, tier),
    )
    plan = build_plan(entries, tier)
    progress.advance(1)
    return plan


def _add_tier(writer: BundleWriter, job: Job, plan: Plan) -> TierFacts:
    # KV buffers are not counted: their size follows the context that the engine is asked for, and it sees to that
    largest = max(buffer.bytes for buffer in plan.buffers if buffer.kind != "kv")
    limits = {}
    if largest > MAX_BINDING_BYTES:
        limits["maxStorageBufferBindingSize"] = largest
    if largest > _MAX_BUFFER_BYTES:
        limits["maxBufferSize"] = largest
    return TierFacts(
        name=plan.tier.name,
        features=plan.tier.features,
        limits=limits,
        kv_cache_dtype=job.kv_cache_dtype or plan.tier.kv_dtype,
        plan=writer.add_file(f"plan.{plan.tier.name}", "json", _json(plan.to_json())),
        kernels=writer.add_file(f"kernels.{plan.tier.name}", "wgsl", plan.wgsl().encode()),
    )


def _kv_per_token(plan: Plan) -> int:
    return sum(b.bytes // b.pages for b in plan.buffers if b.kind == "kv") // PAGE_SIZE


def _quantize(writer: BundleWriter, job: Job, progress: Progress) -> None:
    model = job.model()
    params = model.params()
    progress.start("quantize", count_bytes(job.checkpoint, params), "bytes")
    with writer.weights() as weights:
        for name, table in model.constants().items():
            weights.add_tensor(name, table)
        for tensor, blocks in quantize_params(job.checkpoint, params, job.scheme, progress=progress):
            weights.begin_tensor(tensor.name, tensor.dtype, tensor.shape)
            for block in blocks:
                weights.write(block)


def _add_validation(writer: BundleWriter, job: Job, progress: Progress) -> str:
    validation = make_validation(
        PackedWeights(writer.stored_weights(), job.scheme.bits or 4),
        job.model(),
        job.context,
        job.prompt_tokens,
        min(VALIDATION_STEPS, job.context - len(job.prompt_tokens)),
        prompt=job.prompt,
        eos_token_ids=job.checkpoint.eos_token_ids,
        decode=job.renderer.decode,
        progress=progress,
    )
    return writer.add_file("validation", "json", _json(validation))


def _add_tokenizer(writer: BundleWriter, checkpoint: Checkpoint) -> TokenizerFiles:
    files = checkpoint.tokenizer_files
    return TokenizerFiles(
        tokenizer=writer.add_file("tokenizer", "json", files["tokenizer.json"]),
        config=writer.add_file("tokenizer_config", "json", files.get("tokenizer_config.json", b"{}")),
        eos_token_ids=tuple(sorted(checkpoint.eos_token_ids)),
    )


def _model_facts(job: Job) -> ModelFacts:
    config = job.config
    return ModelFacts(
        family=job.family,
        quantization=job.scheme.name,
        parameters=job.model().weight_count,
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
