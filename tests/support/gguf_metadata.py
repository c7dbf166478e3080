"""GGUF files as they are read, without a file: metadata of a family, and a SentencePiece vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gguf import GGMLQuantizationType as Kind

from mlcweb.sources.gguf.file import GgufFile, GgufTensor
from mlcweb.sources.gguf.metadata import Metadata


def metadata_of(name: str, **keys: Any) -> Metadata:
    """Only metadata: sizes of a model that has no tensors but the embedding, and ``keys``, "__" for a dot."""
    sizes = {
        "block_count": 2,
        "context_length": 4096,
        "embedding_length": 256,
        "feed_forward_length": 512,
        "attention.head_count": 4,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "attention.layer_norm_epsilon": 1e-5,
    }
    keys = {key.replace("__", "."): value for key, value in keys.items()}
    embedding = GgufTensor(Path("x.gguf"), "token_embd.weight", (320, 256), Kind.F32, 0, 0)
    metadata = {f"{name}.{key}": value for key, value in {**sizes, **keys}.items() if value is not None}
    metadata["general.architecture"] = name
    return Metadata(GgufFile(Path("x.gguf"), metadata, {"token_embd.weight": embedding}))


def sentencepiece_file(**changes):
    """A SentencePiece vocabulary: <unk>, <s>, </s>, the 256 bytes, then pieces from best to worst."""
    pieces = ["▁t", "he", "▁the", "in", "▁", "t", "h", "e", "i", "n", "1", "2"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *pieces]
    metadata = {
        "model": "llama",
        "tokens": tokens,
        "token_type": [2, 3, 3] + [6] * 256 + [1] * len(pieces),
        "scores": [0.0] * 259 + [-float(i) for i in range(len(pieces))],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unknown_token_id": 0,
        **changes,
    }
    return GgufFile(Path("x.gguf"), {f"tokenizer.ggml.{k}": v for k, v in metadata.items()}, {})
