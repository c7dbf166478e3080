"""A single GGUF file as a checkpoint: its config and tokenizer are rebuilt from the metadata."""

from __future__ import annotations

from pathlib import Path

from mlcweb.errors import SourceError, UnsupportedError
from mlcweb.sources.checkpoint import Checkpoint, compute_fingerprint, sample_span
from mlcweb.sources.gguf_families import build_config, build_tensors, find_family
from mlcweb.sources.gguf_file import GgufFile, read_gguf
from mlcweb.sources.gguf_metadata import Metadata
from mlcweb.sources.gguf_tokenizer import build_tokenizer_files, find_stop_ids
from mlcweb.sources.licence import clean_licence
from mlcweb.sources.tokenizer_files import find_eos_ids


def open_gguf(path: Path, *, source: dict[str, str] | None = None) -> Checkpoint:
    """Open a GGUF file; quantized tensors are dequantized as they are read, a row range at a time.

    Raises SourceError if there is no such file, CheckpointError if it is damaged or lacks metadata,
    UnsupportedError for another architecture, tokenizer or tensor type than those known, and for a part of a model.
    """
    if not path.is_file():
        raise SourceError(f"{path}: no such file")
    file = read_gguf(path)
    parts = file.metadata.get("split.count", 1)
    if parts != 1:
        raise UnsupportedError(
            f"{path}: is one of {parts} parts of a model, which mlcweb does not read apart",
            hint="Merge them: llama-gguf-split --merge FIRST_PART.gguf WHOLE.gguf",
        )
    metadata = Metadata(file)
    family = find_family(metadata)
    config = build_config(metadata, family) | _token_ids(file)
    files = build_tokenizer_files(file, metadata.count("context_length"))
    samples = (
        (t.name, t.shape, t.kind.name, sample_span(path, t.offset, t.size)) for t in file.tensors.values()
    )
    return Checkpoint(
        config=config,
        tensors=build_tensors(file, family, config),
        tokenizer_files=files,
        eos_token_ids=find_eos_ids(config, files),
        source=source or {"kind": "gguf", "name": path.name},
        fingerprint=compute_fingerprint(config, files, samples),
        licence=clean_licence(file.metadata.get("general.license")),
    )


def _token_ids(file: GgufFile) -> dict[str, int | list[int]]:
    """config.json's ids of special tokens; several end a generation where the vocabulary has more than one's name."""
    ids: dict[str, int | list[int]] = {}
    for key, gguf_key in (("bos_token_id", "bos_token_id"), ("pad_token_id", "padding_token_id")):
        if f"tokenizer.ggml.{gguf_key}" in file.metadata:
            ids[key] = file.metadata[f"tokenizer.ggml.{gguf_key}"]
    stops = find_stop_ids(file)
    if stops:
        ids["eos_token_id"] = stops[0] if len(stops) == 1 else list(stops)
    return ids
