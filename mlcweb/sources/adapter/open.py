"""Opens a LoRA adapter: adapter_config.json and adapter_model.safetensors, in a folder or on the hub."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlcweb.errors import CheckpointError, SourceError, UnsupportedError
from mlcweb.progress import Progress
from mlcweb.sources.adapter.config import AdapterConfig
from mlcweb.sources.adapter.files import CONFIG_FILE, WEIGHTS_FILE, refuse_pickled
from mlcweb.sources.checkpoint import FLOAT_DTYPES, LazyTensor, compute_fingerprint
from mlcweb.sources.hub.cache import find_snapshot
from mlcweb.sources.hub.name import parse_hub_name
from mlcweb.sources.licence import read_licence
from mlcweb.sources.safetensors_file import open_safetensors
from mlcweb.sources.tokenizer_files import read_json, read_tokenizer_files

_PREFIX = "base_model.model."
# PEFT leaves the adapter's own name ("default") out when it saves; other trainers do not.
_FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<factor>[AB])(\.[^.]+)?\.weight")
_EMBEDDING = re.compile(r"(?P<module>.+)\.lora_embedding_(?P<factor>[AB])(\.[^.]+)?")
_WHOLE = re.compile(r"(?P<module>.+?)(\.base_layer|\.modules_to_save(\.[^.]+)?)?\.(?P<kind>weight|bias)")


@dataclass(frozen=True)
class LowRank:
    """What is added to one weight ``[out, in]``: ``scaling`` times ``b`` [out, r] times ``a`` [r, in].

    ``embedding``: the product is transposed, b being [width, r] and a [r, vocabulary].
    """

    a: LazyTensor
    b: LazyTensor
    scaling: float
    embedding: bool


@dataclass(frozen=True)
class Adapter:
    """An opened adapter. ``changes`` and ``replacements`` are by the base's tensor names, without PEFT's prefix.

    ``source`` is recorded in the bundle and names no path of this machine; ``tokenizer_files`` is empty if the adapter
    has no tokenizer.json.
    """

    config: AdapterConfig
    changes: Mapping[str, LowRank]
    replacements: Mapping[str, LazyTensor]
    tokenizer_files: Mapping[str, bytes]
    source: dict[str, str]
    fingerprint: str
    licence: str

    @property
    def name(self) -> str:
        """The hub id, or the folder's name."""
        return self.source["adapter"]


def open_adapter(spec: str, *, progress: Progress) -> Adapter:
    """Open a folder, or what is named on the hub by an id or an address; a path that exists wins.

    Raises SourceError if there is no adapter, UnsupportedError for other than plain LoRA in safetensors,
    CheckpointError for damaged files or tensors that are no LoRA's.
    """
    path = Path(os.path.expanduser(spec))
    if os.path.isdir(path):
        snapshot = find_snapshot(path, None)
        if snapshot is not None:
            return read_adapter(snapshot[0], {"adapter": snapshot[1], "adapter_revision": snapshot[2]})
        return read_adapter(path, {"adapter": path.resolve().name})
    named = None if os.path.isfile(path) else parse_hub_name(spec)
    if named is None or named.file or named.quant:
        raise SourceError(
            f"--adapter {spec}: {'is a file' if os.path.isfile(path) else 'no such folder, and not a model id'}",
            hint=f"Give the folder that holds {CONFIG_FILE}, or a Hugging Face id such as org/name.",
        )
    from mlcweb.sources.hub.open import (
        fetch_adapter,  # imports an HTTP client, which local compiles do not need
    )

    folder = fetch_adapter(named, progress=progress)
    return read_adapter(folder, {"adapter": named.repo, "adapter_revision": folder.name})


def read_adapter(folder: Path, source: dict[str, str]) -> Adapter:
    """The adapter in a folder; ``source`` says where it came from."""
    if not (folder / CONFIG_FILE).is_file():
        raise SourceError(
            f"{folder}: has no {CONFIG_FILE}",
            hint="--adapter takes what PEFT saves; a whole model is compiled as SOURCE.",
        )
    content = read_json(folder / CONFIG_FILE)
    config = AdapterConfig.read(folder / CONFIG_FILE, content)
    if not (folder / WEIGHTS_FILE).is_file():
        refuse_pickled(str(folder), [path.name for path in folder.iterdir()])
    tensors = open_safetensors(folder / WEIGHTS_FILE)
    files = _read_tokenizer(folder)
    changes, replacements = _sort(
        folder / WEIGHTS_FILE, config, {name: tensor for name, (tensor, _) in tensors.items()}
    )
    samples = ((name, tensor.shape, tensor.dtype, sample) for name, (tensor, sample) in tensors.items())
    return Adapter(
        config=config,
        changes=changes,
        replacements=replacements,
        tokenizer_files=files,
        source=source,
        fingerprint=compute_fingerprint(content, files, samples, commit=source.get("adapter_revision", "")),
        licence=read_licence(folder),
    )


def _read_tokenizer(folder: Path) -> dict[str, bytes]:
    """The tokenizer's files, none without tokenizer.json; only those that are there stand in for the base's."""
    if not (folder / "tokenizer.json").is_file():
        return {}
    return {name: data for name, data in read_tokenizer_files(folder).items() if data != b"{}"}


def _sort(
    path: Path, config: AdapterConfig, tensors: Mapping[str, LazyTensor]
) -> tuple[dict[str, LowRank], dict[str, LazyTensor]]:
    """What is added and what replaces, by the base's tensor names."""
    factors: dict[tuple[str, bool], dict[str, LazyTensor]] = {}
    replacements: dict[str, LazyTensor] = {}
    for full, tensor in tensors.items():
        _check_kind(path, tensor)
        name = full.removeprefix(_PREFIX)
        match = _FACTOR.fullmatch(name) or _EMBEDDING.fullmatch(name)
        if match:
            pair = factors.setdefault((match["module"], "lora_embedding_" in name), {})
            if match["factor"] in pair:
                raise CheckpointError(f"{path}: holds two adapters of {match['module']}; save one of them")
            pair[match["factor"]] = tensor
            continue
        whole = _WHOLE.fullmatch(name)
        if not whole or "lora_" in name:
            raise CheckpointError(f"{path}: {full} is no tensor of a LoRA")
        target = f"{whole['module']}.{whole['kind']}"
        if target in replacements:
            raise CheckpointError(f"{path}: holds two tensors that replace {target}")
        replacements[target] = tensor
    changes: dict[str, LowRank] = {}
    for (module, embedding), pair in factors.items():
        if f"{module}.weight" in changes:
            raise CheckpointError(f"{path}: holds two adapters of {module}; save one of them")
        changes[f"{module}.weight"] = _pair(path, config, module, embedding, pair)
    if not changes and not replacements:
        raise CheckpointError(f"{path}: holds no tensors")
    return changes, replacements


def _check_kind(path: Path, tensor: LazyTensor) -> None:
    if "lora_magnitude_vector" in tensor.name:
        raise UnsupportedError(
            f"{path}: {tensor.name} is of DoRA, which mlcweb does not merge",
            hint="Merge it with PEFT: merge_and_unload(), then save_pretrained(), and compile what is saved.",
        )
    if not tensor.name.startswith(_PREFIX):
        raise CheckpointError(
            f"{path}: {tensor.name} does not begin with {_PREFIX}", hint="Save the adapter with PEFT."
        )
    if tensor.dtype not in FLOAT_DTYPES:
        raise UnsupportedError(
            f"{path}: {tensor.name} is stored as {tensor.dtype}; mlcweb reads F32, F16 and BF16"
        )


def _pair(
    path: Path, config: AdapterConfig, module: str, embedding: bool, pair: Mapping[str, LazyTensor]
) -> LowRank:
    for factor in "AB":
        if factor not in pair:
            raise CheckpointError(
                f"{path}: has no lora_{factor} of {module}",
                hint="The adapter was not saved completely; save or fetch it again.",
            )
    a, b, rank = pair["A"], pair["B"], config.rank_of(module)
    if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[0] != rank or b.shape[1] != rank:
        raise CheckpointError(
            f"{path}: {module} has lora_A {list(a.shape)} and lora_B {list(b.shape)}, which are not of rank {rank}",
            hint=f"Use the {config.path.name} that was saved with these weights.",
        )
    if not config.targeted(module):
        raise CheckpointError(
            f"{path}: changes {module}, which target_modules of {config.path.name} does not name",
            hint=f"Use the {config.path.name} that was saved with these weights.",
        )
    return LowRank(a, b, config.scaling_of(module), embedding)
