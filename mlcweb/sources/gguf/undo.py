"""Undoes what llama.cpp's converters did to a tensor, as its rows are read.

Each function gives the checkpoint's tensors that one of the file's is made of. ``name`` is the checkpoint's, with
``{}`` for a number where there are several.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from mlcweb.errors import CheckpointError
from mlcweb.sources.checkpoint import GgufBlocks, LazyTensor
from mlcweb.sources.gguf.file import GgufTensor

Config = dict[str, Any]
Undo = Callable[[GgufTensor, str, Config], list[LazyTensor]]
Load = Callable[[int, int], npt.NDArray[Any]]  # rows from the one to the other


def as_it_is(tensor: GgufTensor, name: str, config: Config) -> list[LazyTensor]:
    """Under another name."""
    return [
        LazyTensor(
            name, tensor.shape, tensor.dtype, tensor.load_rows, _gguf_blocks(tensor, tensor.load_blocks)
        )
    ]


def rotary_pairs(tensor: GgufTensor, name: str, config: Config) -> list[LazyTensor]:
    """Rows that RoPE turns together lie side by side; in the checkpoint they are half a head apart."""
    heads = config["num_attention_heads" if ".q_proj." in name else "num_key_value_heads"]
    _check_rows(tensor, heads * config["head_dim"])
    pairs = np.arange(tensor.shape[0]).reshape(heads, -1, 2)
    return in_order(tensor, name, pairs.swapaxes(1, 2).reshape(-1), config["head_dim"])


def heads_together(tensor: GgufTensor, name: str, config: Config) -> list[LazyTensor]:
    """All queries, keys, values; the checkpoint has those of each head together."""
    heads, size = config["num_attention_heads"], config["head_dim"]
    _check_rows(tensor, 3 * heads * size)
    rows = np.arange(tensor.shape[0]).reshape(3, heads, size)
    return in_order(tensor, name, rows.swapaxes(0, 1).reshape(-1), size)


def minus_one(tensor: GgufTensor, name: str, config: Config) -> list[LazyTensor]:
    """Norms multiply by what is stored; the checkpoint stores what is added to 1. Float32."""
    return [LazyTensor(name, tensor.shape, "float32", partial(_load_minus_one, tensor))]


def transposed(tensor: GgufTensor, name: str, config: Config) -> list[LazyTensor]:
    """``[out, in]``, where a Conv1D's weight is ``[in, out]``; biases are as they were."""
    if len(tensor.shape) != 2:
        return as_it_is(tensor, name, config)
    blocks = _gguf_blocks(tensor, tensor.load_blocks, transposed=True)
    return [LazyTensor(name, tensor.shape[::-1], tensor.dtype, partial(_load_columns, tensor), blocks)]


def stacked(tensor: GgufTensor, name: str, config: Config) -> list[LazyTensor]:
    """Several tensors along axis 0, such as experts."""
    if ".experts." in name:
        count = config.get("num_local_experts") or config["num_experts"]
    else:
        count = config["num_attention_heads" if ".q_" in name else "num_key_value_heads"]
    if len(tensor.shape) < 2 or tensor.shape[0] != count:
        raise CheckpointError(
            f"{tensor.path}: {tensor.name} has the shape {list(tensor.shape)}, but is {count} tensors"
        )
    tensors = []
    for i in range(tensor.shape[0]):
        size = tensor.size // tensor.shape[0]
        part = replace(tensor, shape=tensor.shape[1:], offset=tensor.offset + i * size, size=size)
        tensors += as_it_is(part, name.format(i), config)
    return tensors


def one_row(tensor: GgufTensor, name: str, config: Config) -> list[LazyTensor]:
    """A matrix of one row, which files may have as a vector."""
    return as_it_is(replace(tensor, shape=(1, tensor.shape[-1])), name, config)


def without_suffix(tensor: GgufTensor, name: str, config: Config) -> list[LazyTensor]:
    """A parameter that is no layer's weight."""
    return as_it_is(tensor, name.removesuffix(".weight"), config)


def fused(tensor: GgufTensor, name: str, config: Config) -> list[LazyTensor]:
    """Queries, keys and values in one, which the checkpoint has apart: ``{}`` is q, k or v."""
    query, key = (config[f"num_{kind}_heads"] * config["head_dim"] for kind in ("attention", "key_value"))
    _check_rows(tensor, query + 2 * key)
    return [
        LazyTensor(
            name.format(part),
            (rows, *tensor.shape[1:]),
            tensor.dtype,
            partial(_load_part, tensor.load_rows, first),
            _gguf_blocks(tensor, partial(_load_part, tensor.load_blocks, first), rows=rows),
        )
        for part, first, rows in (("q", 0, query), ("k", query, key), ("v", query + key, key))
    ]


def _check_rows(tensor: GgufTensor, rows: int) -> None:
    if tensor.shape[0] != rows:
        raise CheckpointError(
            f"{tensor.path}: {tensor.name} has {tensor.shape[0]} rows, but its heads have {rows}"
        )


def in_order(tensor: GgufTensor, name: str, order: npt.NDArray[Any], near: int) -> list[LazyTensor]:
    """Rows ``order`` of a tensor; those at most ``near`` apart are read at once."""
    load, load_blocks = (
        partial(_load_in_order, rows, order, near) for rows in (tensor.load_rows, tensor.load_blocks)
    )
    return [LazyTensor(name, tensor.shape, tensor.dtype, load, _gguf_blocks(tensor, load_blocks))]


def _gguf_blocks(
    tensor: GgufTensor, load: Load, *, rows: int = 0, transposed: bool = False
) -> GgufBlocks | None:
    """What a matrix, or ``rows`` of it, is stored as; vectors are small, and taken as floats."""
    nbytes = tensor.size * (rows or tensor.shape[0]) // tensor.shape[0]
    return GgufBlocks(tensor.kind.name, nbytes, load, transposed) if len(tensor.shape) == 2 else None


def _load_in_order(load: Load, order: npt.NDArray[Any], near: int, start: int, stop: int) -> npt.NDArray[Any]:
    """Rows ``order[start:stop]``. Those at most ``near`` apart are read at once, with what is between."""
    rows = order[start:stop]
    if not len(rows):
        return load(0, 0)
    parts = []
    for run in np.split(rows, np.flatnonzero(np.abs(np.diff(rows)) > near) + 1):
        first = int(run.min())
        parts.append(load(first, int(run.max()) + 1)[run - first])
    result: npt.NDArray[Any] = np.concatenate(parts)
    return result


def _load_minus_one(tensor: GgufTensor, start: int, stop: int) -> npt.NDArray[Any]:
    weights: npt.NDArray[Any] = tensor.load_rows(start, stop).astype(np.float32) - np.float32(1.0)
    return weights


def _load_columns(tensor: GgufTensor, start: int, stop: int) -> npt.NDArray[Any]:
    return np.ascontiguousarray(tensor.load_rows(0, tensor.shape[0])[:, start:stop].T)


def _load_part(load: Load, first: int, start: int, stop: int) -> npt.NDArray[Any]:
    return load(first + start, first + stop)
