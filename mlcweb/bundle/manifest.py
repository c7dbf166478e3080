"""Reads and writes the manifest, ``mlcweb.json``; ``mlcweb.contract.manifest`` has its fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from mlcweb.bundle.check import check_manifest, decode_json
from mlcweb.contract import manifest as contract
from mlcweb.contract.constants import FORMAT, MANIFEST_NAME, VERSION
from mlcweb.contract.manifest import (
    AnswerSyntax,
    EmbeddingFacts,
    FileEntry,
    GenerationDefaults,
    ImageFacts,
    MemoryFacts,
    ModelFacts,
    Quality,
    RerankingFacts,
    TensorEntry,
    TokenizerFiles,
    Weights,
)
from mlcweb.contract.manifest import Tier as TierFacts

__all__ = [
    "AnswerSyntax",
    "EmbeddingFacts",
    "FileEntry",
    "GenerationDefaults",
    "ImageFacts",
    "Manifest",
    "MemoryFacts",
    "ModelFacts",
    "Quality",
    "RerankingFacts",
    "TensorEntry",
    "TierFacts",
    "TokenizerFiles",
    "Weights",
    "same_share",
]


@dataclass(frozen=True)
class Manifest(contract.Manifest):
    """A whole manifest; ``tiers`` is best first. ``inputs``: sha256 of what the bundle was made from."""

    def to_json(self) -> bytes:
        """The manifest's bytes: keys in the schema's order, maps sorted, one trailing newline."""
        data = {"format": FORMAT, "version": VERSION, **_plain(self)}
        return (json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Parse and check a manifest, trusting nothing in it.

        Raises BundleError, naming the field, for what the schema or the format's rules do not admit.
        """
        data = decode_json(text, MANIFEST_NAME)
        check_manifest(data, MANIFEST_NAME)
        made = _typed({key: value for key, value in data.items() if key not in ("format", "version")}, cls)
        assert isinstance(made, cls)
        return made

    def tier(self, name: str) -> TierFacts | None:
        """The tier of that name, if the bundle has it."""
        return next((tier for tier in self.tiers if tier.name == name), None)


def same_share(quality: Quality) -> float:
    """At what share of the tokens the most likely one is the source's."""
    return quality.same_tokens / quality.tokens


def _plain(value: Any) -> Any:
    """Dataclasses and maps as JSON values: fields in their order, those that are absent left out; map keys sorted."""
    if isinstance(value, Mapping):
        return {key: _plain(value[key]) for key in sorted(value)}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if is_dataclass(value):
        values = {field.name: getattr(value, field.name) for field in fields(value)}
        return {name: _plain(item) for name, item in values.items() if item is not None}
    return value


def _typed(value: Any, hint: Any) -> Any:
    """JSON that the schema accepts, as the contract's type of it."""
    if isinstance(hint, type) and is_dataclass(hint):
        hints = get_type_hints(hint)
        return hint(**{key: _typed(item, hints[key]) for key, item in value.items()})
    if get_origin(hint) is tuple:
        return tuple(_typed(item, get_args(hint)[0]) for item in value)
    if get_origin(hint) is Mapping:
        return {key: _typed(item, get_args(hint)[1]) for key, item in value.items()}
    if get_origin(hint) is UnionType:  # of a key that may be absent: here it is not
        return _typed(value, get_args(hint)[0])
    return value
