"""A single GGUF file as a checkpoint: its config and tokenizer are rebuilt from the metadata."""

from __future__ import annotations

from pathlib import Path

from mlcweb.errors import SourceError, UnsupportedError
from mlcweb.sources.checkpoint import Checkpoint, compute_fingerprint, sample_span
from mlcweb.sources.gguf_file import read_gguf
from mlcweb.sources.gguf_llama import build_config, build_tensors
from mlcweb.sources.gguf_tokenizer import build_tokenizer_files, find_stop_ids
from mlcweb.sources.licence import clean_licence
from mlcweb.sources.tokenizer_files import find_eos_ids

ARCHITECTURES = ("llama",)


def open_gguf(path: Path, *, source: dict[str, str] | None = None) -> Checkpoint:
    """Open a GGUF file; quantized tensors are dequantized as they are read, a row range at a time.

    Raises SourceError if there is no such file, CheckpointError if it is damaged or lacks metadata,
    UnsupportedError for another architecture, tokenizer or tensor type than those known.
    """
    if not path.is_file():
        raise SourceError(f"{path}: no such file")
    file = read_gguf(path)
    architecture = file.require("general.architecture", str)
    if architecture not in ARCHITECTURES:
        raise UnsupportedError(
            f"{path}: GGUF architecture {architecture!r} is not supported; known: {', '.join(ARCHITECTURES)}",
            hint="Compile the model's safetensors checkpoint if its family is supported.",
        )
    config = build_config(file)
    stops = find_stop_ids(file)
    if stops:
        config["eos_token_id"] = stops[0] if len(stops) == 1 else list(stops)
    files = build_tokenizer_files(file, config["max_position_embeddings"])
    samples = (
        (t.name, t.shape, t.kind.name, sample_span(path, t.offset, t.size)) for t in file.tensors.values()
    )
    return Checkpoint(
        config=config,
        tensors=build_tensors(file, config),
        tokenizer_files=files,
        eos_token_ids=find_eos_ids(config, files),
        source=source or {"kind": "gguf", "name": path.name},
        fingerprint=compute_fingerprint(config, files, samples),
        licence=clean_licence(file.metadata.get("general.license")),
    )
