"""Reads what sentence-transformers saves beside a model: pooling, products after it, prompts and the longest text.

The files: ``modules.json`` lists the modules in order, each with a folder; ``sentence_bert_config.json`` and
``config_sentence_transformers.json`` have options of the whole (https://sbert.net, as of version 5).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

from mlcweb.contract.constants import Pooling, Similarity
from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.sources.checkpoint import LazyTensor
from mlcweb.sources.safetensors_file import open_safetensors
from mlcweb.sources.tokenizer_files import read_json

MODULES_FILE = "modules.json"
OPTIONS_FILE = "config_sentence_transformers.json"
TRANSFORMER_FILE = "sentence_bert_config.json"
SMALL_FILES = (MODULES_FILE, OPTIONS_FILE, TRANSFORMER_FILE)
WEIGHTS_FILE = "model.safetensors"

_POOLINGS: dict[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
}
_ACTIVATIONS = {
    "torch.nn.modules.linear.Identity": None,
    "torch.nn.modules.activation.Tanh": "tanh",
    "torch.nn.modules.activation.GELU": "gelu",
    "torch.nn.modules.activation.SiLU": "silu",
}


@dataclass(frozen=True)
class SentenceDense:
    """A product after pooling: ``name`` is its tensors', ``activation`` as a kernel calls it."""

    name: str
    inputs: int
    outputs: int
    bias: bool
    activation: str | None


@dataclass(frozen=True)
class SentenceModel:
    """What turns a text's hidden states into its embedding. ``max_tokens``: of a text, where that is said.

    ``width`` is how wide the rows are that are pooled, where that is said.
    """

    pooling: Pooling
    normalized: bool
    similarity: Similarity
    width: int | None = None
    dense: tuple[SentenceDense, ...] = ()
    max_tokens: int | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None


def is_small_file(name: str) -> bool:
    """Whether a repository's file is one of those that say what the modules are."""
    folder, _, file = name.rpartition("/")
    return name in SMALL_FILES or ("/" not in folder and folder[:1].isdigit() and file == "config.json")


def is_module_weights(name: str) -> bool:
    """Whether a repository's file has the weights of a product after pooling."""
    folder, _, file = name.rpartition("/")
    return "/" not in folder and "_Dense" in folder and file == WEIGHTS_FILE


def read_sentence_model(
    folder: Path,
) -> tuple[SentenceModel, dict[str, tuple[LazyTensor, bytes]]] | None:
    """What the folder says, and the tensors of its products; None where it is no model of sentence-transformers.

    Raises UnsupportedError for modules and options that mlcweb does not have, CheckpointError for damaged files.
    """
    if not (folder / MODULES_FILE).is_file():
        return None
    options = read_json(folder / OPTIONS_FILE) if (folder / OPTIONS_FILE).is_file() else {}
    max_tokens = _max_tokens(folder)
    pooling: tuple[Pooling, int | None] | None = None
    dense: list[SentenceDense] = []
    tensors: dict[str, tuple[LazyTensor, bytes]] = {}
    normalized = False
    for place, kind, path in _modules(folder):
        if place == 0:
            if kind != "Transformer":
                raise _unknown(folder, kind)
        elif kind == "Pooling" and pooling is None and not dense:
            pooling = _pooling(folder / path / "config.json")
        elif kind == "Dense" and pooling is not None and not normalized:
            made, own = _dense(folder / path, path)
            dense.append(made)
            tensors.update(own)
        elif kind == "Normalize":
            normalized = True
        else:
            raise _unknown(folder, kind)
    if pooling is None:
        raise UnsupportedError(
            f"{folder / MODULES_FILE}: has no Pooling, so it is not said what an embedding is made of"
        )
    similarity = options.get("similarity_fn_name") or "cosine"
    if similarity not in get_args(Similarity):
        raise UnsupportedError(f"{folder / OPTIONS_FILE}: the similarity {similarity!r:.60} is not known")
    prompts, default = _prompts(folder, options)
    model = SentenceModel(
        pooling=pooling[0],
        normalized=normalized,
        similarity=cast(Similarity, similarity),
        width=pooling[1],
        dense=tuple(dense),
        max_tokens=max_tokens,
        prompts=prompts,
        default_prompt=default,
    )
    return model, tensors


def _modules(folder: Path) -> list[tuple[int, str, str]]:
    """Each module's place, kind (the last part of its Python name) and folder."""
    path = folder / MODULES_FILE
    try:
        listed = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(listed, list) or not listed:
        raise CheckpointError(f"{path}: holds no list of modules")
    modules = []
    for i, module in enumerate(listed):
        kind, where = (module.get(key) if isinstance(module, dict) else None for key in ("type", "path"))
        if not isinstance(kind, str) or not isinstance(where, str):
            raise CheckpointError(f"{path}: [{i}] has no type and path")
        # a folder beside this file: another path would let it read elsewhere on the machine
        if where and (Path(where).name != where or "\\" in where):
            raise CheckpointError(f"{path}: [{i}] has the path {where!r:.100}, which is not a folder's name")
        modules.append((i, kind.rsplit(".", 1)[-1], where))
    return modules


def _pooling(path: Path) -> tuple[Pooling, int | None]:
    config = read_json(path)
    if config.get("include_prompt") is False:
        raise UnsupportedError(f"{path}: leaves prompts out of the mean, which mlcweb does not do")
    width = config.get("word_embedding_dimension", config.get("embedding_dimension"))
    width = width if isinstance(width, int) and width > 0 else None
    named = config.get("pooling_mode")
    if named is not None:
        modes = [named] if isinstance(named, str) else list(named)
        known = {"mean": "mean", "cls": "cls", "lasttoken": "last"}
        chosen = [known.get(mode, "") for mode in modes]
    else:
        modes = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
        chosen = [_POOLINGS.get(mode, "") for mode in modes]
    if len(chosen) != 1 or not chosen[0]:
        raise UnsupportedError(
            f"{path}: pools by {', '.join(map(str, modes)) or 'nothing'}; mlcweb has mean, CLS and last token"
        )
    return cast(Pooling, chosen[0]), width


def _dense(folder: Path, name: str) -> tuple[SentenceDense, dict[str, tuple[LazyTensor, bytes]]]:
    config = read_json(folder / "config.json")
    inputs, outputs = config.get("in_features"), config.get("out_features")
    if not (isinstance(inputs, int) and isinstance(outputs, int) and inputs > 0 and outputs > 0):
        raise CheckpointError(f"{folder / 'config.json'}: has no in_features and out_features")
    activation = config.get("activation_function", "torch.nn.modules.activation.Tanh")
    if activation not in _ACTIVATIONS:
        raise UnsupportedError(f"{folder / 'config.json'}: the activation {activation!r:.80} is not known")
    if not (folder / WEIGHTS_FILE).is_file():
        raise CheckpointError(
            f"{folder}: has no {WEIGHTS_FILE}", hint="Save the model again with safetensors."
        )
    tensors = open_safetensors(folder / WEIGHTS_FILE)
    bias = bool(config.get("bias", True))
    made = SentenceDense(f"{name}.linear", inputs, outputs, bias, _ACTIVATIONS[activation])
    return made, {f"{name}.{key}": tensor for key, tensor in tensors.items()}


def _max_tokens(folder: Path) -> int | None:
    path = folder / TRANSFORMER_FILE
    config = read_json(path) if path.is_file() else {}
    if config.get("do_lower_case"):
        raise UnsupportedError(
            f"{path}: makes texts lower case before the tokenizer, which mlcweb does not do"
        )
    most = config.get("max_seq_length")
    return most if isinstance(most, int) and not isinstance(most, bool) and most > 0 else None


def _prompts(folder: Path, options: Mapping[str, Any]) -> tuple[dict[str, str], str | None]:
    prompts, default = options.get("prompts") or {}, options.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
        raise CheckpointError(f"{folder / OPTIONS_FILE}: prompts are not texts by name")
    if default is not None and default not in prompts:
        raise CheckpointError(
            f"{folder / OPTIONS_FILE}: default_prompt_name {default!r:.60} is none of the prompts"
        )
    return prompts, default


def _unknown(folder: Path, kind: str) -> UnsupportedError:
    return UnsupportedError(
        f"{folder / MODULES_FILE}: has a module {kind}, which mlcweb does not have there",
        hint="Transformer, Pooling, Dense and Normalize are known, in this order.",
    )
