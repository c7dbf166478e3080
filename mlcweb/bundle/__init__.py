"""The bundle on disk: manifest, atomic writer, verifying reader. Format: docs/bundle-format.md."""

from mlcweb.bundle.check import CHUNK_BYTES
from mlcweb.bundle.manifest import (
    MANIFEST_NAME,
    FileEntry,
    Manifest,
    MemoryFacts,
    ModelFacts,
    Quality,
    TensorEntry,
    Tier,
    TokenizerFiles,
    Weights,
)
from mlcweb.bundle.reader import Bundle, open_bundle
from mlcweb.bundle.stored import StoredWeights
from mlcweb.bundle.writer import BundleWriter

__all__ = [
    "CHUNK_BYTES",
    "MANIFEST_NAME",
    "Bundle",
    "BundleWriter",
    "FileEntry",
    "Manifest",
    "MemoryFacts",
    "ModelFacts",
    "Quality",
    "StoredWeights",
    "TensorEntry",
    "Tier",
    "TokenizerFiles",
    "Weights",
    "open_bundle",
]
