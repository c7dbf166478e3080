"""Opens a Hugging Face model folder: config.json, safetensors (one file, or indexed shards) and a tokenizer."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mlcweb.errors import CheckpointError, SourceError, UnsupportedError
from mlcweb.progress import Progress, SilentProgress
from mlcweb.sources.checkpoint import Checkpoint, LazyTensor, compute_fingerprint
from mlcweb.sources.fp8 import without_fp8
from mlcweb.sources.licence import read_licence
from mlcweb.sources.prefixes import without_wrappers
from mlcweb.sources.preprocessor import read_preprocessor
from mlcweb.sources.safetensors_file import open_safetensors
from mlcweb.sources.sentence_transformers import read_sentence_model
from mlcweb.sources.stacked_experts import without_stacks
from mlcweb.sources.text_part import text_config, text_tensors, wrapper_of
from mlcweb.sources.tokenizer_files import find_eos_ids, read_json, read_tokenizer_files
from mlcweb.words import quoted

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
BOTH_NOTE = (
    f"{{}} has {SINGLE_FILE} and, in shards, {INDEX_FILE}: the first is compiled, as transformers reads it"
)


def open_directory(
    folder: Path,
    *,
    source: dict[str, str] | None = None,
    images: bool = True,
    progress: Progress | None = None,
) -> Checkpoint:
    """Open a model folder; ``source`` replaces the record of where it came from (the hub's cache is a
    folder too). Tensors have the names that they have in the model, whatever it was wrapped in. Of a model that sees
    without ``images`` it is the text model alone.

    Raises SourceError if the folder holds no model, UnsupportedError for pickled or already quantized
    weights, CheckpointError for damaged files or an index that disagrees with its shards.
    """
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            raise SourceError(
                f"{folder}: is an adapter, not a model",
                hint=f"Compile the model it was trained on, with --adapter {quoted(folder)}.",
            )
        raise SourceError(
            f"{folder}: has no config.json",
            hint="Give a Hugging Face model folder, a .gguf file, or a model id such as org/name.",
        )
    config = read_json(folder / "config.json")
    refuse_prequantized(config, folder.name if source is None else source.get("id", folder.name))
    if (folder / SINGLE_FILE).is_file() and (folder / INDEX_FILE).is_file():
        (progress or SilentProgress()).note(BOTH_NOTE.format(folder))
    tensors = without_fp8(str(folder), without_wrappers(str(folder), _open_weights(folder)))
    tensors = without_stacks(str(folder), config, tensors)
    wrapper = wrapper_of(config)
    sees = images and wrapper is not None and wrapper.sees
    if wrapper is not None:
        tensors = text_tensors(str(folder), tensors, sees=sees)
        config = text_config(str(folder), config, tensors, sees=sees)
    preprocessor = read_preprocessor(folder) if sees else None
    sentence = read_sentence_model(folder)
    if sentence is not None:
        tensors = {**tensors, **sentence[1]}
    files = read_tokenizer_files(folder, _vocab_size(config))
    source = source or {"kind": "directory", "name": folder.resolve().name}
    samples = ((name, tensor.shape, tensor.dtype, sample) for name, (tensor, sample) in tensors.items())
    return Checkpoint(
        config=config,
        tensors={name: replace(tensor, name=name) for name, (tensor, _) in tensors.items()},
        tokenizer_files=files,
        eos_token_ids=find_eos_ids(config, files),
        source=source,
        fingerprint=compute_fingerprint(
            {
                **config,
                **({"sentence": asdict(sentence[0])} if sentence else {}),
                **({"preprocessor": asdict(preprocessor)} if preprocessor else {}),
            },
            files,
            samples,
            commit=source.get("revision", ""),
        ),
        licence=read_licence(folder),
        sentence=sentence[0] if sentence else None,
        preprocessor=preprocessor,
    )


def _vocab_size(config: dict[str, Any]) -> int | None:
    value = config.get("vocab_size")
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def refuse_prequantized(config: dict[str, Any], name: str) -> None:
    """Raise UnsupportedError if the config says that the weights are GPTQ, AWQ, bitsandbytes, …

    Those of 8-bit floats and MXFP4 are read.
    """
    quantization = config.get("quantization_config")
    if quantization:
        method = quantization.get("quant_method", "unknown") if isinstance(quantization, dict) else "unknown"
        if method in ("fp8", "mxfp4"):
            return
        raise UnsupportedError(
            f"{name}: its weights are already quantized ({method})",
            hint="Compile the original checkpoint; mlcweb quantizes by itself.",
        )


def shard_names(index_path: Path) -> dict[str, str]:
    """Tensor name to shard file name, from ``model.safetensors.index.json``. Raises CheckpointError."""
    weight_map = read_json(index_path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index_path}: has no weight_map")
    for tensor, shard in weight_map.items():
        # A shard is a file beside its index: a path would let an index read elsewhere on the machine.
        if not isinstance(shard, str) or Path(shard).name != shard or "\\" in shard:
            raise CheckpointError(f"{index_path}: tensor {tensor} names {shard!r}, which is not a file name")
    return weight_map


def _open_weights(folder: Path) -> dict[str, tuple[LazyTensor, bytes]]:
    """In transformers' order: the one file, before shards that may be left from an earlier save."""
    if (folder / SINGLE_FILE).is_file():
        return open_safetensors(folder / SINGLE_FILE)
    if (folder / INDEX_FILE).is_file():
        return _open_shards(folder)
    if any(folder.glob("pytorch_model*.bin")):
        raise UnsupportedError(
            f"{folder}: holds only pickled weights (pytorch_model.bin), which mlcweb does not load",
            hint="Convert them: AutoModelForCausalLM.from_pretrained(...).save_pretrained(folder).",
        )
    raise SourceError(f"{folder}: has no {SINGLE_FILE} and no {INDEX_FILE}")


def _open_shards(folder: Path) -> dict[str, tuple[LazyTensor, bytes]]:
    weight_map = shard_names(folder / INDEX_FILE)
    opened = {}
    for shard in sorted(set(weight_map.values())):
        if not os.path.isfile(folder / shard):  # pathlib's raises for a name that is too long
            raise CheckpointError(f"{folder / INDEX_FILE}: names {shard:.200}, which is not in the folder")
        opened[shard] = open_safetensors(folder / shard)
    tensors = {}
    for name, shard in weight_map.items():
        if name not in opened[shard]:
            raise CheckpointError(f"{folder / shard}: does not hold {name}, which {INDEX_FILE} says it does")
        tensors[name] = opened[shard][name]
    return tensors
