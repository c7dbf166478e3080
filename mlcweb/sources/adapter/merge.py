"""Merges a LoRA adapter into a checkpoint row by row as it is read: no merged copy exists anywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from mlcweb.errors import CheckpointError
from mlcweb.sources.adapter.open import Adapter, LowRank
from mlcweb.sources.checkpoint import Checkpoint, LazyTensor
from mlcweb.sources.tokenizer_files import find_eos_ids

F64 = npt.NDArray[np.float64]

# Factors that are kept while their weight is read in batches of rows, by several threads.
_KEPT = 8


@dataclass(frozen=True)
class Tie:
    """A model whose embedding is its head too, by the names of both."""

    embed: str
    head: str


def merge_adapter(
    checkpoint: Checkpoint, adapter: Adapter, *, tie: Tie | None, transposed: Collection[str]
) -> Checkpoint:
    """The checkpoint with what the adapter changes, as PEFT's ``merge_and_unload`` makes it in the same types.

    A weight becomes W + scaling * (B @ A), added in float32 and rounded once, to W's type. (PEFT rounds an
    embedding's product first.) ``transposed`` weights are stored [in, out]. ``tie``: where the adapter trained
    one of the two alone, they are tied no longer and ``tie_word_embeddings`` becomes false: so they computed in
    training, while PEFT adds an embedding's change to the head too. Raises CheckpointError where names or
    shapes do not fit.
    """
    changes, replacements = dict(adapter.changes), dict(adapter.replacements)
    tensors, config = dict(checkpoint.tensors), checkpoint.config
    if tie and _unties(adapter, tie):
        tensors.setdefault(tie.head, replace(tensors[tie.embed], name=tie.head))
        config = {**config, "tie_word_embeddings": False}
    elif tie:
        for by_name in (changes, replacements):
            head: Any = by_name.pop(tie.head, None)
            if head is not None:
                by_name.setdefault(tie.embed, head)
        # a stored copy of the tied head would be the embedding before the change
        tensors.pop(tie.head, None)
    for name, tensor in replacements.items():
        _check(adapter, name, tensors, tensor.shape)
        tensors[name] = replace(tensor, name=name)
    factor = lru_cache(_KEPT)(partial(_read_factor, adapter.name))
    for name, change in changes.items():
        out, across = change.b.shape[0], change.a.shape[1]
        flipped = change.embedding or name in transposed
        _check(adapter, name, tensors, (across, out) if flipped else (out, across))
        load = partial(_load_rows, tensors[name], change, flipped, factor)
        tensors[name] = replace(
            tensors[name], load_rows=load, gguf_blocks=None
        )  # it is not the file's any more
    files, eos = checkpoint.tokenizer_files, checkpoint.eos_token_ids
    if adapter.tokenizer_files:
        files = {**files, **adapter.tokenizer_files}
        eos = find_eos_ids(config, files)
    fingerprint = hashlib.sha256(f"{checkpoint.fingerprint} {adapter.fingerprint}".encode()).hexdigest()
    return replace(
        checkpoint,
        config=config,
        tensors=tensors,
        tokenizer_files=files,
        eos_token_ids=eos,
        source={**checkpoint.source, **adapter.source},
        fingerprint=fingerprint,
        licence=_both(checkpoint.licence, adapter.licence),
    )


def _unties(adapter: Adapter, tie: Tie) -> bool:
    """Whether embedding and head were trained apart. What PEFT saves only because the vocabulary grew was not."""
    if adapter.config.keeps_tied:
        return False
    return any(
        name in adapter.changes
        or (name in adapter.replacements and adapter.config.saves(name.removesuffix(".weight")))
        for name in (tie.embed, tie.head)
    )


def _both(base: str, adapter: str) -> str:
    return (
        f"{base} and {adapter}" if base and adapter and base.lower() != adapter.lower() else base or adapter
    )


def _check(adapter: Adapter, name: str, tensors: dict[str, LazyTensor], shape: tuple[int, ...]) -> None:
    made_for = f" It was made for {adapter.config.base}." if adapter.config.base else ""
    if name not in tensors:
        raise CheckpointError(
            f"the adapter {adapter.name} changes {name}, which the checkpoint does not have",
            hint=f"Compile the model that the adapter was trained on.{made_for}",
        )
    actual = tensors[name].shape
    if actual != shape:
        raise CheckpointError(
            f"the adapter {adapter.name} changes {name} as {list(shape)}; the checkpoint has {list(actual)}",
            hint="Compile the model that the adapter was trained on, or merge with PEFT if its vocabulary grew."
            + made_for,
        )


def _read_factor(adapter: str, tensor: LazyTensor) -> F64:
    values = tensor.read().astype(np.float64)
    if not np.all(np.isfinite(values)):
        raise CheckpointError(
            f"the adapter {adapter}: {tensor.name} has values that are infinite or NaN",
            hint="Its training diverged; use an earlier state.",
        )
    return values


def _load_rows(
    base: LazyTensor,
    change: LowRank,
    flipped: bool,
    factor: Callable[[LazyTensor], F64],
    start: int,
    stop: int,
) -> npt.NDArray[Any]:
    values = base.read(slice(start, stop))
    a, b = factor(change.a), factor(change.b)
    left, right = (a.T, b.T) if flipped else (b, a)
    # in float64 the sum does not show how many rows were asked for, nor this machine's BLAS
    product = (left[start:stop] @ right * change.scaling).astype(np.float32)
    with np.errstate(over="ignore"):  # too large for float16 is found with all that is not finite
        return (values.astype(np.float32) + product).astype(values.dtype)
