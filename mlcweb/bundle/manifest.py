"""The manifest, ``mlcweb.json``, as typed values. Format: docs/bundle-format.md, manifest.schema.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from mlcweb.bundle.check import check_manifest, decode_json

MANIFEST_NAME = "mlcweb.json"
FORMAT = "mlcweb-bundle"
VERSION = 1


@dataclass(frozen=True)
class ModelFacts:
    """What the model is. Sizes are element counts; ``source`` is the Checkpoint's.

    ``scales``: how those of quantized weights were chosen, ``calibrated`` or ``mlc``, where the bundle says it.
    """

    family: str
    quantization: str
    parameters: int
    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    context_length: int
    prefill_chunk: int
    page_size: int
    source: Mapping[str, str]
    licence: str = ""
    scales: str | None = None


@dataclass(frozen=True)
class TokenizerFiles:
    """File names of the tokenizer and its config, and the ids that end a generation."""

    tokenizer: str
    config: str
    eos_token_ids: tuple[int, ...]


@dataclass(frozen=True)
class Tier:
    """One set of kernels: the WebGPU features and limits it needs, and its plan and WGSL file names.

    ``kv_cache_dtype`` is the type of the KV cache's elements, ``float16`` or ``float32``, where the bundle says it.
    """

    name: str
    features: tuple[str, ...]
    limits: Mapping[str, int]
    plan: str
    kernels: str
    kv_cache_dtype: str | None = None


@dataclass(frozen=True)
class TensorEntry:
    """Where a tensor lies. ``offset`` is in bytes from the start of the first chunk; ``bytes`` is exact."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    bytes: int


@dataclass(frozen=True)
class Weights:
    """The weight chunks in order, their total bytes (padding included) and the tensors in them."""

    chunks: tuple[str, ...]
    bytes: int
    tensors: tuple[TensorEntry, ...]


@dataclass(frozen=True)
class MemoryFacts:
    """GPU memory in bytes: weights, KV cache for one token of context, and the largest tier's scratch."""

    weights: int
    kv_per_token: int
    scratch: int


@dataclass(frozen=True)
class Quality:
    """How near the bundle's predictions are to its source's, on ``tokens`` tokens of held-out text, by the host.

    ``same_tokens``: where the most likely token is the same. KL(source || bundle) is in millionths of a nat, its mean
    and 99th percentile; perplexities are in thousandths, the bundle's and the source's. Rounded to three digits.
    """

    tokens: int
    same_tokens: int
    kl_micronats: int
    kl_p99_micronats: int
    perplexity_thousandths: int
    source_perplexity_thousandths: int

    @property
    def same(self) -> float:
        """``same_tokens`` as a share."""
        return self.same_tokens / self.tokens


@dataclass(frozen=True)
class FileEntry:
    """A file's size in bytes and its sha256 in lower-case hex."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A whole manifest; ``tiers`` is best first, ``validation``, ``config`` and ``quality`` may be absent."""

    name: str
    created_by: str
    model: ModelFacts
    tokenizer: TokenizerFiles
    wasm: str
    tiers: tuple[Tier, ...]
    weights: Weights
    memory: MemoryFacts
    files: Mapping[str, FileEntry]
    validation: str | None = None
    config: str | None = None  # the checkpoint's config, for a host that runs the model again
    quality: Quality | None = None
    inputs: str | None = None  # sha256 of what the bundle was made from, so that a rerun finds it current

    def to_json(self) -> bytes:
        """The manifest's bytes: keys in the order of the format page, maps sorted, one trailing newline."""
        data: dict[str, Any] = {"format": FORMAT, "version": VERSION, "name": self.name}
        data["created_by"] = self.created_by
        if self.inputs is not None:
            data["inputs"] = self.inputs
        data["model"] = {key: value for key, value in _plain(self.model).items() if value is not None}
        data["tokenizer"] = _plain(self.tokenizer)
        data["wasm"] = self.wasm
        data["tiers"] = [
            {key: value for key, value in _plain(tier).items() if value is not None} for tier in self.tiers
        ]
        data["weights"] = _plain(self.weights)
        data["memory"] = _plain(self.memory)
        if self.validation is not None:
            data["validation"] = self.validation
        if self.config is not None:
            data["config"] = self.config
        if self.quality is not None:
            data["quality"] = _plain(self.quality)
        data["files"] = _plain(self.files)
        return (json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Parse and check a manifest, trusting nothing in it.

        Raises BundleError, naming the field, for what the schema or the format's rules do not admit.
        """
        data = decode_json(text, MANIFEST_NAME)
        check_manifest(data, MANIFEST_NAME)
        model, tokenizer, weights = data["model"], data["tokenizer"], data["weights"]
        return cls(
            name=data["name"],
            created_by=data["created_by"],
            model=ModelFacts(**model),
            tokenizer=TokenizerFiles(
                tokenizer["tokenizer"], tokenizer["config"], tuple(tokenizer["eos_token_ids"])
            ),
            wasm=data["wasm"],
            tiers=tuple(
                Tier(
                    t["name"],
                    tuple(t["features"]),
                    t["limits"],
                    t["plan"],
                    t["kernels"],
                    t.get("kv_cache_dtype"),
                )
                for t in data["tiers"]
            ),
            weights=Weights(
                tuple(weights["chunks"]),
                weights["bytes"],
                tuple(
                    TensorEntry(t["name"], t["dtype"], tuple(t["shape"]), t["offset"], t["bytes"])
                    for t in weights["tensors"]
                ),
            ),
            memory=MemoryFacts(**data["memory"]),
            files={name: FileEntry(**entry) for name, entry in data["files"].items()},
            validation=data.get("validation"),
            config=data.get("config"),
            quality=Quality(**data["quality"]) if "quality" in data else None,
            inputs=data.get("inputs"),
        )

    def tier(self, name: str) -> Tier | None:
        """The tier of that name, if the bundle has it."""
        return next((tier for tier in self.tiers if tier.name == name), None)


def _plain(value: Any) -> Any:
    """Dataclasses and maps as JSON values: fields in their order, map keys sorted."""
    if isinstance(value, Mapping):
        return {key: _plain(value[key]) for key in sorted(value)}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value
