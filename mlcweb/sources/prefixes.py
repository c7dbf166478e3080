"""Removes from tensor names what training put around a model: torch.compile, DDP, FSDP, checkpointing, PEFT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from mlcweb.errors import CheckpointError, UnsupportedError

T = TypeVar("T")

# Wrappers name themselves wherever a module was wrapped; none is a part of any architecture.
_WRAPPERS = frozenset(("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"))
# What holds a whole model: DistributedDataParallel and DataParallel, and PEFT.
_HOLDERS = ("module.", "base_model.model.")
_PEFT = "base_model.model."
_UNMERGED = (".lora_", ".base_layer.", ".modules_to_save.", ".original_module.")


def without_wrappers(where: str, tensors: Mapping[str, T]) -> dict[str, T]:
    """The tensors by the names that they have in the model itself; ``where`` is the folder, for messages.

    Raises UnsupportedError for a PEFT model whose adapter is not merged, CheckpointError where two tensors would have
    one name.
    """
    unwrapped: dict[str, T] = {}
    for name, tensor in tensors.items():
        unwrapped[_unwrapped(where, name, unwrapped)] = tensor
    while holder := next(
        (h for h in _HOLDERS if unwrapped and all(name.startswith(h) for name in unwrapped)), None
    ):
        if holder == _PEFT:
            _check_merged(where, unwrapped)
        unwrapped = {name.removeprefix(holder): tensor for name, tensor in unwrapped.items()}
    return unwrapped


def _unwrapped(where: str, name: str, known: Mapping[str, T]) -> str:
    parts = name.split(".")
    if _WRAPPERS.isdisjoint(parts):
        short = name
    else:
        short = ".".join(part for part in parts if part not in _WRAPPERS)
    if short in known:
        raise CheckpointError(
            f"{where}: holds {short} twice, once as {name}",
            hint="Save the model itself, not what torch.compile made of it.",
        )
    return short


def _check_merged(where: str, names: Mapping[str, T]) -> None:
    unmerged = next((name for name in names if any(part in name for part in _UNMERGED)), None)
    if unmerged is not None:
        raise UnsupportedError(
            f"{where}: is a model of PEFT's with an adapter that is not merged: it holds {unmerged}",
            hint="Merge it with PEFT: merge_and_unload(), then save_pretrained(). Or compile the model that was "
            "trained, with --adapter for the adapter alone.",
        )
