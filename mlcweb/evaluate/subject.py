"""Prepares what is judged for the host reference: a bundle, or a source as it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mlcweb.bundle import Bundle, open_bundle
from mlcweb.compile.decide import decide
from mlcweb.compile.job import Job
from mlcweb.compile.request import CompileRequest
from mlcweb.errors import BundleError, MlcwebError, UnsupportedError
from mlcweb.evaluate.dense import UNQUANTIZED, dense_or_packed
from mlcweb.evaluate.predictor import HostPredictor
from mlcweb.kernels.choice.tier import BASE
from mlcweb.models import Decoder, DecoderConfig, architecture
from mlcweb.progress import Progress
from mlcweb.quantize import GGUF_FORMATS, Scheme, get_scheme, keep_types
from mlcweb.reference import PackedWeights, ReferenceWeights
from mlcweb.reference.checkpoint_weights import CheckpointWeights
from mlcweb.reference.prompt import PromptRenderer

# A source's tensors are read for every chunk of text; so many bytes of them are kept in memory.
KEEP_BYTES = 4 << 30
KNOWN_TYPES = {"F32", "F16", "BF16", *GGUF_FORMATS}


@dataclass(frozen=True)
class Subject:
    """A model on the host. ``bits`` are those that are stored for a weight, and ``bytes`` all of a bundle's files."""

    name: str
    scheme: str
    model: Decoder
    weights: ReferenceWeights = field(repr=False)
    renderer: PromptRenderer = field(repr=False)
    context: int
    bits: float | None = None
    bytes: int | None = None
    path: Path | None = None
    adapter: str | None = None

    @property
    def vocab(self) -> int:
        """Logits of a token."""
        return int(self.model.config.vocab_size)

    def predictor(self, window: int) -> HostPredictor:
        """For windows of at most so many tokens."""
        return HostPredictor(self.model, self.weights, window, self.context)


def bundle_subject(bundle: Bundle, source: Job | None = None) -> Subject:
    """The bundle, dequantized as it is read. ``source`` has the config of one that holds none.

    Raises BundleError where the config is not that of the bundle, or missing.
    """
    manifest = bundle.manifest
    if bundle.of_texts:
        raise BundleError(
            f"{manifest.name} makes embeddings or scores, and an evaluation compares predictions of tokens",
            hint="`mlcweb compile` says how near its embeddings are to the source's.",
        )
    if manifest.config is None and source is not None:
        config, model_class = source.config, source.model_class
    else:
        config_json = bundle.config()["config"]
        try:
            config_class, model_class = architecture(config_json)
            config = config_class.from_hf(config_json)
        except MlcwebError as error:
            raise BundleError(f"{manifest.config}: {error.message}", hint=error.hint) from error
    _compare(bundle, config)
    facts = manifest.model
    scheme = _scheme(bundle)
    model = model_class(config, scheme, BASE, facts.context_length)
    packed = PackedWeights(bundle.stored_weights(), scheme.formats)
    tables = model.constants()
    stored = sum(tensor.bytes for tensor in manifest.weights.tensors if tensor.name not in tables)
    files = manifest.files
    return Subject(
        name=manifest.name,
        scheme=scheme.name,
        model=model,
        weights=dense_or_packed(packed, scheme),
        renderer=PromptRenderer(
            {
                "tokenizer.json": bundle.file(manifest.tokenizer.tokenizer),
                "tokenizer_config.json": bundle.file(manifest.tokenizer.config),
            }
        ),
        context=facts.context_length,
        bits=8 * stored / facts.parameters,
        bytes=sum(entry.bytes for entry in files.values()),
        path=bundle.path,
        adapter=facts.source.get("adapter"),
    )


def open_job(source: str, kind: str, adapter: str | None, progress: Progress) -> Job:
    """A source (a recipe's name, a hub id, a folder or a .gguf file) that is to be judged as it is."""
    request = CompileRequest(source, quantization=UNQUANTIZED, source_kind=kind, adapter=adapter)
    job = decide(request, progress)
    if job.texts is not None:
        raise UnsupportedError(
            f"{source} makes embeddings or scores, and an evaluation compares predictions of tokens",
            hint="`mlcweb compile` says how near a bundle's embeddings are to the source's.",
        )
    return job


def source_subject(job: Job, context: int, keep_bytes: int = KEEP_BYTES) -> Subject:
    """The checkpoint's own values in float32. ``context`` is what a bundle of it is compiled for."""
    model = job.model_class(job.config, get_scheme(UNQUANTIZED), BASE, context)
    return Subject(
        name=job.name.removesuffix(f"-{job.scheme.name}"),
        scheme="source",
        model=model,
        weights=CheckpointWeights(job.checkpoint, model.params(), keep_bytes),
        renderer=job.renderer,
        context=context,
        adapter=job.checkpoint.source.get("adapter"),
    )


def open_bundle_subject(path: Path, progress: Progress, source: Job | None = None) -> Subject:
    """The bundle at a path, its files verified first."""
    bundle = open_bundle(path)
    bundle.verify(progress)
    return bundle_subject(bundle, source)


def _scheme(bundle: Bundle) -> Scheme:
    scheme = get_scheme(bundle.manifest.model.quantization)
    if not scheme.as_it_is:
        return scheme
    types = bundle.config()["types"]
    for name, kind in types.items():
        if kind not in KNOWN_TYPES:
            raise BundleError(
                f"{bundle.manifest.config}: {name} has the type {str(kind)[:40]!r}, which is none"
            )
    return keep_types(types)


def _compare(bundle: Bundle, config: DecoderConfig) -> None:
    """A config of other sizes would be built, and fail somewhere inside it."""
    facts = bundle.manifest.model
    sizes = {
        "vocabulary": (facts.vocab_size, config.vocab_size),
        "hidden size": (facts.hidden_size, config.hidden_size),
        "layers": (facts.layers, config.num_hidden_layers),
        "heads": (facts.heads, config.num_attention_heads),
        "KV heads": (facts.kv_heads, config.num_key_value_heads),
        "head size": (facts.head_dim, config.head_dim),
    }
    for name, (stored, said) in sizes.items():
        if stored != said:
            raise BundleError(
                f"{bundle.path.name}: {name} {stored} in the manifest, and {said} in the config of its model",
                hint="It was made from another model: compare it with its own source, or compile it again.",
            )
    if facts.layers > len(bundle.manifest.weights.tensors):
        raise BundleError(
            f"{bundle.path.name}: {facts.layers} layers, and {len(bundle.manifest.weights.tensors)} tensors",
            hint="The bundle is damaged or incomplete: compile or download it again.",
        )
