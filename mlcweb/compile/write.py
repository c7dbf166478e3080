"""Makes a job's bundle: lowers, quantizes, runs the host reference, and puts the bundle in its place."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlcweb.bundle import (
    BundleWriter,
    Manifest,
    MemoryFacts,
    ModelFacts,
    Quality,
    TierFacts,
    TokenizerFiles,
    open_bundle,
)
from mlcweb.bundle.cost import tier_cost
from mlcweb.compile.dump import Dump
from mlcweb.compile.images import check_of_picture
from mlcweb.compile.job import Job
from mlcweb.compile.lower import lower_tiers
from mlcweb.compile.scales import calibrated
from mlcweb.compile.texts import int8_moves_texts, make_validation_of_texts
from mlcweb.compile.tier import LoweredTier, lower_tier
from mlcweb.contract.constants import Scales
from mlcweb.debug import logged_stage, logger
from mlcweb.evaluate.dense import UNQUANTIZED, dense_or_packed
from mlcweb.evaluate.quality import measure_quality
from mlcweb.kernel_cache import open_cache
from mlcweb.kernels.choice.tier import BASE
from mlcweb.kernels.layouts.kv_cache import PAGE_SIZE
from mlcweb.kernels.layouts.pieces import MAX_BINDING_BYTES
from mlcweb.kernels.ops.entries import PREFILL_INT8
from mlcweb.progress import Progress
from mlcweb.quantize import get_scheme, packed_tensors
from mlcweb.quantize.searched import Calibration
from mlcweb.quantize.stream import count_bytes, quantize_params
from mlcweb.reference import PackedWeights, int8_difference, make_validation
from mlcweb.reference.answer_syntax import find_answer_syntax
from mlcweb.reference.chats import make_chats
from mlcweb.reference.checkpoint_weights import CheckpointWeights
from mlcweb.sources import Checkpoint
from mlcweb.sources.generation import read_generation
from mlcweb.wasm import link_model

VALIDATION_STEPS = 16
_log = logger("compile")
_MAX_BUFFER_BYTES = 256 << 20  # WebGPU's default maxBufferSize


def write_bundle(
    job: Job, out_dir: Path, progress: Progress, stages: dict[str, float], dump: Dump | None = None
) -> Manifest:
    """Make the bundle at ``out_dir``; ``stages`` gets each stage's seconds, ``dump`` what lowering makes on its way.

    Leaves all or nothing at ``out_dir``.
    """
    weight_bytes = _weight_bytes(job)
    text_bytes = sum(map(len, job.checkpoint.tokenizer_files.values()))
    with BundleWriter(out_dir, expected_bytes=weight_bytes + text_bytes) as writer:
        # lowering comes first: it is quick, and what it refuses need not wait for the weights
        with timed(stages, "lower"):
            lowered = lower_tiers(job, progress, dump)
        calibration = None
        if job.calibration is not None:
            with timed(stages, "calibrate"):
                calibration = calibrated(job, job.calibration, progress)
        with timed(stages, "quantize"):
            _quantize(writer, job, calibration, progress)
        with timed(stages, "reference"):
            validation = _validation(writer, job, progress)
            lowered = _without_bad_int8(writer, job, lowered, validation, progress)
            lowered = _exact_where_needed(writer, job, lowered, validation, progress)
        quality, texts = None, job.texts
        if job.evaluate and not texts:
            with timed(stages, "evaluate"):
                quality = _quality(writer, job, progress)
        with timed(stages, "finish"):
            progress.start("finish")
            exports = [name for tier in lowered for name in tier.exports]
            linked = link_model([tier.tables for tier in lowered], exports)
            writer.finish(
                name=job.name,
                inputs=job.digest(),
                model=_model_facts(job),
                tokenizer=_add_tokenizer(writer, job.checkpoint),
                wasm=writer.add_file("model", "wasm", linked),
                tiers=[_add_tier(writer, job, tier) for tier in lowered],
                memory=MemoryFacts(
                    weights=weight_bytes,
                    kv_per_token=max(tier.kv_per_token for tier in lowered),
                    scratch=max(tier.scratch for tier in lowered),
                ),
                validation=writer.add_file("validation", "json", _json(validation)),
                config=writer.add_file("config", "json", _json(_definition(job))),
                quality=quality,
                answers=None if texts else find_answer_syntax(job.renderer),
                generation=None if texts else read_generation(job.checkpoint.tokenizer_files),
                embedding=texts.embedding if texts else None,
                reranking=texts.reranking if texts else None,
                images=job.images,
            )
    return open_bundle(out_dir).manifest


@contextmanager
def timed(stages: dict[str, float], name: str) -> Iterator[None]:
    """Record a stage's seconds, and log them."""
    start = time.monotonic()
    with logged_stage(_log, name):
        yield
    stages[name] = time.monotonic() - start


def _weight_bytes(job: Job) -> int:
    model = job.reference_model
    tables = sum(table.nbytes for table in model.constants().values())
    params = model.params()
    return tables + sum(tensor.nbytes for param in params for tensor in packed_tensors(param, job.scheme))


def _add_tier(writer: BundleWriter, job: Job, lowered: LoweredTier) -> TierFacts:
    name = lowered.tier.name
    plan = writer.add_file(f"plan.{name}", "json", _json(lowered.plan))
    dtype = None if job.texts else job.kv_cache_dtype or lowered.tier.kv_dtype
    tensors, vocab = writer.stored_weights().entries, job.config.vocab_size
    cost = tier_cost(lowered.plan, tensors, vocab, gpu=not lowered.modules)
    if lowered.modules:
        every, relaxed = lowered.modules
        return TierFacts(
            name=name,
            features=(),
            limits={},
            plan=plan,
            kernels=writer.add_file(f"kernels.{name}", "wasm", every),
            relaxed=writer.add_file(f"kernels.{name}.relaxed", "wasm", relaxed),
            int8=True if lowered.rounds else None,
            kv_cache_dtype=dtype,
            cost=cost,
        )
    largest = lowered.largest_buffer
    limits = {}
    if largest > MAX_BINDING_BYTES:
        limits["maxStorageBufferBindingSize"] = largest
    if largest > _MAX_BUFFER_BYTES:
        limits["maxBufferSize"] = largest
    return TierFacts(
        name=name,
        features=lowered.tier.features,
        limits=limits,
        kv_cache_dtype=dtype,
        cost=cost,
        plan=plan,
        kernels=writer.add_file(f"kernels.{name}", "wgsl", lowered.wgsl.encode()),
    )


def _quantize(
    writer: BundleWriter,
    job: Job,
    calibration: Calibration | None,
    progress: Progress,
) -> None:
    model = job.reference_model
    params = model.params()
    progress.start("quantize", count_bytes(job.checkpoint, params, job.scheme), "bytes")
    stream = quantize_params(job.checkpoint, params, job.scheme, progress=progress, calibration=calibration)
    with writer.weights() as weights:
        for name, table in model.constants().items():
            weights.add_tensor(name, table)
        for tensor, batches in stream:
            weights.begin_tensor(tensor.name, tensor.dtype, tensor.shape)
            for rows in batches:
                weights.write(rows)


def _validation(writer: BundleWriter, job: Job, progress: Progress) -> dict[str, Any]:
    if job.texts is not None:
        source = None
        if job.evaluate and job.scheme.quantizes:
            exact = replace(job, scheme=get_scheme(UNQUANTIZED), calibration=None).model(BASE)
            source = exact, CheckpointWeights(job.checkpoint, exact.params())
        packed, model = _packed(writer, job), job.reference_model
        return make_validation_of_texts(job.texts, model, packed, job.context, progress, source)
    packed, model = _packed(writer, job), job.reference_model
    picture = None
    if job.images is not None:
        picture = check_of_picture(job.images, model, packed, job.renderer, job.prompt, job.context)
    return make_validation(
        packed,
        model,
        job.context,
        job.prompt_tokens,
        min(VALIDATION_STEPS, job.context - len(job.prompt_tokens)),
        prompt=job.prompt,
        eos_token_ids=job.checkpoint.eos_token_ids,
        decode=job.renderer.decode,
        chats=make_chats(job.renderer, job.prompt),
        picture=picture,
        progress=progress,
    )


def _quality(writer: BundleWriter, job: Job, progress: Progress) -> Quality | None:
    packed = _packed(writer, job)
    return measure_quality(
        job.checkpoint,
        job.renderer,
        job.reference_model,
        dense_or_packed(packed, job.scheme),
        job.model_class(job.config, get_scheme(UNQUANTIZED), BASE, job.context),
        job.context,
        progress,
    )


def _definition(job: Job) -> dict[str, Any]:
    """What the host needs to build the model again, without what transformers notes for itself (a folder's path)."""
    config = {key: value for key, value in job.checkpoint.config.items() if not key.startswith("_")}
    return {"config": config, **({"types": dict(job.scheme.types)} if job.scheme.types else {})}


def _packed(writer: BundleWriter, job: Job) -> PackedWeights:
    return PackedWeights(writer.stored_weights(), job.scheme.formats)


def _without_bad_int8(
    writer: BundleWriter,
    job: Job,
    lowered: list[LoweredTier],
    validation: dict[str, Any],
    progress: Progress,
) -> list[LoweredTier]:
    """The tiers, without prefill in int8 where this model's activations do not bear it: devices choose by speed."""
    if not any(PREFILL_INT8.name in tier.entries for tier in lowered):
        return lowered
    difference = _too_much(writer, job, validation, everywhere=False)
    if difference is None:
        return lowered
    progress.note(
        f"prefill with int8 activations is left out: it would move logits by {difference:.1%} of their range"
    )
    return [
        tier.without(PREFILL_INT8.name) if PREFILL_INT8.name in tier.entries else tier for tier in lowered
    ]


def _too_much(
    writer: BundleWriter, job: Job, validation: dict[str, Any], *, everywhere: bool
) -> float | None:
    """How far rounding to int8 moves logits (``int8_difference``), or what is made of texts, where that is more than
    the model bears.
    """
    packed, model = _packed(writer, job), job.reference_model
    if job.texts is not None:
        difference = int8_moves_texts(job.texts, model, packed, job.context, validation)
    else:
        difference = int8_difference(packed, model, job.context, validation, everywhere=everywhere)
    # a device rounds ties its own way, so the host's may be a little less
    return difference if difference > 0.8 * validation["tolerance"]["int8"] else None


def _exact_where_needed(
    writer: BundleWriter,
    job: Job,
    lowered: list[LoweredTier],
    validation: dict[str, Any],
    progress: Progress,
) -> list[LoweredTier]:
    """The tiers, with the CPU's in float32 where this model's activations do not bear its int8."""
    tier = next((one.tier for one in lowered if one.tier.cpu and one.rounds), None)
    if tier is None:
        return lowered
    difference = _too_much(writer, job, validation, everywhere=True)
    if difference is None:
        return lowered
    progress.note(
        f"the tier {tier.name} computes in float32: int8 would move its "
        + (f"outputs by {difference:.1%}" if job.texts else f"logits by {difference:.1%} of their range")
    )
    exact = lower_tier(job, replace(tier, floats=True), open_cache())
    return [exact if one.tier.cpu else one for one in lowered]


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
        scales=_scales(job),
        parameters=job.reference_model.weight_count,
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


def _scales(job: Job) -> Scales | None:
    """How scales were chosen, of schemes that have any to choose."""
    if not job.scheme.quantizes:
        return None
    return "calibrated" if job.calibration else "mlc"


def _json(value: Any) -> bytes:
    return (json.dumps(value, separators=(",", ":"), sort_keys=True) + "\n").encode()
