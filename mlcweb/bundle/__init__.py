"""Writes, checks and reads a bundle on disk (docs/bundle-format.md)."""

from mlcweb.bundle.manifest import (
    EmbeddingFacts,
    FileEntry,
    ImageFacts,
    Manifest,
    MemoryFacts,
    ModelFacts,
    Quality,
    RerankingFacts,
    TensorEntry,
    TierFacts,
    TokenizerFiles,
    Weights,
    same_share,
)
from mlcweb.bundle.reader import Bundle, open_bundle
from mlcweb.bundle.stored import StoredWeights
from mlcweb.bundle.writer import BundleWriter
from mlcweb.contract.constants import MANIFEST_NAME

__all__ = [
    "MANIFEST_NAME",
    "Bundle",
    "BundleWriter",
    "EmbeddingFacts",
    "FileEntry",
    "ImageFacts",
    "Manifest",
    "MemoryFacts",
    "ModelFacts",
    "Quality",
    "RerankingFacts",
    "StoredWeights",
    "TensorEntry",
    "TierFacts",
    "TokenizerFiles",
    "Weights",
    "open_bundle",
    "same_share",
]
