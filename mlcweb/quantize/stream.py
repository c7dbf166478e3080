"""Packs a model's parameters in order, in row blocks made ahead by a thread pool, in bounded memory."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlcweb.errors import CheckpointError
from mlcweb.progress import Progress, SilentProgress
from mlcweb.quantize.blocks import to_blocks
from mlcweb.quantize.casting import cast
from mlcweb.quantize.group import quantize_group
from mlcweb.quantize.param import PackedTensor, Param, packed_tensors
from mlcweb.quantize.schemes import Scheme
from mlcweb.sources.checkpoint import Checkpoint, LazyTensor

_Block = tuple[npt.NDArray[Any], ...]  # rows of each packed tensor of the parameter, in their order


@dataclass(frozen=True)
class _Task:
    """Rows ``start`` to ``stop`` of one source tensor of one parameter."""

    param: Param
    tensor: LazyTensor
    start: int
    stop: int


def quantize_params(
    checkpoint: Checkpoint,
    params: Sequence[Param],
    scheme: Scheme,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    block_bytes: int = 4 << 20,
) -> Iterator[tuple[PackedTensor, Iterable[npt.NDArray[Any]]]]:
    """Yield every stored tensor of ``params``, in order, with an iterator over its consecutive row blocks.

    Each block is a C-contiguous array whose bytes are to be written one after the other. Like
    itertools.groupby, a tensor's blocks must be taken before the next tensor is; what is left of them is
    otherwise skipped. About ``2 * workers`` blocks of ``block_bytes`` (of float32 source rows) are in
    memory, and one tensor's scales. Output does not depend on ``workers`` or ``block_bytes``. ``progress``
    advances by bytes read from the checkpoint. Raises CheckpointError if a source is missing, has another
    shape than its parameter, or is not finite.
    """
    for param in params:
        _check(checkpoint, param)
    return _stream(checkpoint, params, scheme, workers, progress or SilentProgress(), block_bytes)


def count_bytes(checkpoint: Checkpoint, params: Sequence[Param]) -> int:
    """By how many bytes ``quantize_params`` advances in all: a total for the progress stage."""
    return sum(_read_bytes(checkpoint.tensors[name]) for param in params for name in param.sources)


def _read_bytes(tensor: LazyTensor) -> int:
    return math.prod(tensor.shape) * (4 if tensor.dtype == "float32" else 2)


def _stream(
    checkpoint: Checkpoint,
    params: Sequence[Param],
    scheme: Scheme,
    workers: int | None,
    progress: Progress,
    block_bytes: int,
) -> Iterator[tuple[PackedTensor, Iterable[npt.NDArray[Any]]]]:
    tasks = (task for param in params for task in _cut(checkpoint, param, block_bytes))
    count = workers or os.cpu_count() or 1
    pool = ThreadPoolExecutor(count, thread_name_prefix="quantize")
    ahead: deque[tuple[_Task, Future[_Block]]] = deque()

    def take() -> tuple[_Task, _Block]:
        while len(ahead) < 2 * count and (task := next(tasks, None)) is not None:
            ahead.append((task, pool.submit(_pack, task, scheme)))
        task, future = ahead.popleft()
        block = future.result()
        progress.advance(_read_bytes(task.tensor) // task.tensor.shape[0] * (task.stop - task.start))
        return task, block

    def blocks(param: Param, later: list[_Block]) -> Iterator[npt.NDArray[Any]]:
        rows = 0
        while rows < param.shape[0]:
            task, (first, *rest) = take()
            rows += task.stop - task.start
            later.append(tuple(rest))
            yield first

    try:
        for param in params:
            first, *others = packed_tensors(param, scheme)
            later: list[_Block] = []
            stream = blocks(param, later)
            yield first, stream
            deque(stream, maxlen=0)
            for i, packed in enumerate(others):
                yield packed, [block[i] for block in later]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _check(checkpoint: Checkpoint, param: Param) -> None:
    """Raise CheckpointError unless the parameter's sources exist and stack to its shape."""
    rows = 0
    for name in param.sources:
        if name not in checkpoint.tensors:
            raise CheckpointError(f"the checkpoint lacks {name}, needed for {param.name}")
        shape = checkpoint.tensors[name].shape
        if shape[1:] != param.shape[1:] or len(shape) != len(param.shape):
            raise CheckpointError(
                f"{name} is {list(shape)}, which is no part of {param.name} {list(param.shape)}"
            )
        rows += shape[0]
    if rows != param.shape[0]:
        raise CheckpointError(f"the sources of {param.name} have {rows} rows, expected {param.shape[0]}")


def _cut(checkpoint: Checkpoint, param: Param, block_bytes: int) -> Iterator[_Task]:
    row_bytes = 4 * math.prod(param.shape[1:])
    step = param.shape[0] if param.blocks else max(1, block_bytes // max(row_bytes, 1))
    for name in param.sources:
        tensor = checkpoint.tensors[name]
        for start in range(0, tensor.shape[0], step):
            yield _Task(param, tensor, start, min(start + step, tensor.shape[0]))


def _pack(task: _Task, scheme: Scheme) -> _Block:
    values = task.tensor.read(slice(task.start, task.stop))
    try:
        if task.param.packed(scheme):
            # The cast comes first as in MLC's conversion, which changes a code in a few hundred.
            return quantize_group(values, scheme, cast=True)
        finite = _require_finite(cast(values, scheme.activation), scheme.activation)
        return (to_blocks(finite) if task.param.blocks else finite,)
    except CheckpointError as error:
        raise CheckpointError(f"{task.tensor.name}: {error.message}", hint=error.hint) from error


def _require_finite(values: npt.NDArray[Any], activation: str) -> npt.NDArray[Any]:
    if not np.all(np.isfinite(values)):
        raise CheckpointError(f"has values that are infinite, NaN or too large for {activation}")
    return values
