"""Undoes what llama.cpp's converter did to gated DeltaNets: it puts the value heads that share a key head apart.

The checkpoint has them side by side. Tensors of a value head are in that order along their rows, but for the
output product, whose columns are.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf.constants import GGML_QUANT_SIZES

from mlcweb.errors import CheckpointError
from mlcweb.sources.checkpoint import GgufBlocks, LazyTensor
from mlcweb.sources.gguf.file import GgufTensor
from mlcweb.sources.gguf.undo import Config, Load, as_it_is, in_order

Order = npt.NDArray[np.int64]


def value_rows(tensor: GgufTensor, name: str, config: Config) -> list[LazyTensor]:
    """Rows of value heads, after those of queries and keys if there are any."""
    rows = tensor.shape[0]
    width = config["linear_value_head_dim"]
    first = 2 * config["linear_num_key_heads"] * config["linear_key_head_dim"]
    heads = config["linear_num_value_heads"]
    before = {heads: (0, 1), heads * width: (0, width), first + heads * width: (first, width)}.get(rows)
    if before is None:
        raise CheckpointError(f"{tensor.path}: {tensor.name} has {rows} rows, which its heads do not have")
    order = np.concatenate([np.arange(before[0]), before[0] + _heads(config, before[1])])
    return in_order(tensor, name.removesuffix(".bias"), order, rows)


def decay_rate(tensor: GgufTensor, name: str, config: Config) -> list[LazyTensor]:
    """The logarithm of what the file has, negative, of each value head. Float32."""
    (rates,) = value_rows(tensor, name, config)
    return [
        replace(rates, dtype="float32", load_rows=partial(_load_logarithm, rates.load_rows), gguf_blocks=None)
    ]


def value_columns(tensor: GgufTensor, name: str, config: Config) -> list[LazyTensor]:
    """Columns of value heads. They keep the file's type where a head is whole blocks of it."""
    width, columns = config["linear_value_head_dim"], tensor.shape[1]
    order = _heads(config, width)
    if len(order) != columns:
        raise CheckpointError(
            f"{tensor.path}: {tensor.name} has {columns} columns, but its heads {len(order)}"
        )
    if np.array_equal(order, np.arange(columns)):
        return as_it_is(tensor, name, config)
    block, size = GGML_QUANT_SIZES[tensor.kind]
    blocks = None
    if width % block == 0:
        of_blocks = _heads(config, width // block)
        load = partial(_load_blocks, tensor.load_blocks, of_blocks, size)
        blocks = GgufBlocks(tensor.kind.name, tensor.size, load)
    rows = partial(_load_columns, tensor.load_rows, order)
    return [LazyTensor(name, tensor.shape, tensor.dtype, rows, blocks)]


def _heads(config: Config, width: int) -> Order:
    """Where the file has each of the checkpoint's rows, of heads of ``width`` rows."""
    heads, keys = config["linear_num_value_heads"], config["linear_num_key_heads"]
    stored = np.arange(heads * width).reshape(heads // keys, keys, width)
    order: Order = stored.swapaxes(0, 1).reshape(-1)
    return order


def _load_logarithm(load: Load, start: int, stop: int) -> npt.NDArray[np.float32]:
    return np.log(-load(start, stop).astype(np.float32))


def _load_columns(load: Load, order: Order, start: int, stop: int) -> npt.NDArray[Any]:
    rows = load(start, stop)
    return np.ascontiguousarray(rows.reshape(-1, len(order))[:, order])


def _load_blocks(load: Load, order: Order, size: int, start: int, stop: int) -> npt.NDArray[np.uint8]:
    blocks = load(start, stop).reshape(-1, len(order), size)
    return np.ascontiguousarray(blocks[:, order].reshape(stop - start, len(order) * size))
