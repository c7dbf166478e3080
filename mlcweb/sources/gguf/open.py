"""Opens a model in GGUF as a checkpoint: its config and tokenizer are rebuilt from the metadata."""

from __future__ import annotations

import json
from pathlib import Path

from mlcweb.errors import CheckpointError, SourceError
from mlcweb.progress import Progress, SilentProgress
from mlcweb.sources.checkpoint import Checkpoint, compute_fingerprint, sample_span
from mlcweb.sources.gguf.families import build_config, build_tensors, find_family
from mlcweb.sources.gguf.metadata import Metadata
from mlcweb.sources.gguf.sampling import build_generation_config
from mlcweb.sources.gguf.split import read_model
from mlcweb.sources.gguf.tokenizer import build_tokenizer_files
from mlcweb.sources.gguf.vocabulary import STOP_NAMES, STOP_TEXTS, Vocabulary, read_vocabulary
from mlcweb.sources.licence import clean_licence
from mlcweb.sources.tokenizer_files import find_eos_ids


def open_gguf(
    path: Path, *, source: dict[str, str] | None = None, progress: Progress | None = None
) -> Checkpoint:
    """Open a GGUF file, or the model that it is a part of; quantized tensors are dequantized as they are read, a row
    range at a time.

    Raises SourceError if there is no such file or a part is missing, CheckpointError if it is damaged or lacks
    metadata, UnsupportedError for another architecture, tokenizer or tensor type than those known.
    """
    if not path.is_file():
        raise SourceError(f"{path}: no such file")
    file, name = read_model(path)
    metadata = Metadata(file)
    family = find_family(metadata)
    vocabulary = read_vocabulary(file, (progress or SilentProgress()).note)
    config = build_config(metadata, family) | _token_ids(vocabulary)
    files = build_tokenizer_files(file, vocabulary, metadata.count("context_length"))
    files |= build_generation_config(file)
    samples = (
        (t.name, t.shape, t.kind.name, sample_span(t.path, t.offset, t.size)) for t in file.tensors.values()
    )
    return Checkpoint(
        config=config,
        tensors=build_tensors(file, family, config),
        tokenizer_files=files,
        eos_token_ids=_eos_ids(path, config, files, vocabulary),
        source=source or {"kind": "gguf", "name": name},
        fingerprint=compute_fingerprint(config, files, samples),
        licence=clean_licence(file.metadata.get("general.license")),
    )


def _token_ids(vocabulary: Vocabulary) -> dict[str, int | list[int]]:
    """config.json's ids of special tokens; several end a generation where the vocabulary has more than one's name."""
    ids: dict[str, int | list[int]] = {}
    for key, name in (("bos_token_id", "bos"), ("pad_token_id", "padding")):
        if name in vocabulary.special:
            ids[key] = vocabulary.special[name]
    stops = vocabulary.find_stop_ids()
    if stops:
        ids["eos_token_id"] = stops[0] if len(stops) == 1 else list(stops)
    return ids


def _eos_ids(
    path: Path, config: dict[str, object], files: dict[str, bytes], vocabulary: Vocabulary
) -> tuple[int, ...]:
    """As of a folder of these files. Raises CheckpointError if none is left because those named are no tokens."""
    # The whole tokenizer.json would be parsed for a handful of its tokens: a second for 262,144.
    stops = {text: vocabulary.ids[text] for text in STOP_TEXTS if text in vocabulary.ids}
    added = [{"id": i, "content": text} for text, i in stops.items()]
    small = json.dumps({"added_tokens": added, "model": {"type": "BPE", "vocab": {}, "merges": []}})
    ids = find_eos_ids(config, files | {"tokenizer.json": small.encode()})
    wrong = [vocabulary.ignored[name] for name in STOP_NAMES if name in vocabulary.ignored]
    if wrong and not ids:
        raise CheckpointError(
            f"{path}: {wrong[0]}, and no other token ends an answer",
            hint="Take a GGUF file made with a newer converter, or compile the safetensors checkpoint.",
        )
    return ids
