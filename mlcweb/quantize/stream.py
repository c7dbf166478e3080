"""Packs a model's parameters in order, in batches of rows that a thread pool makes ahead, in bounded memory."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from mlcweb.cores import cores
from mlcweb.errors import CheckpointError
from mlcweb.progress import Progress, SilentProgress
from mlcweb.quantize.block_order import to_block_order
from mlcweb.quantize.casting import cast
from mlcweb.quantize.formats import Format
from mlcweb.quantize.group import quantize_group
from mlcweb.quantize.pack import pack_gguf
from mlcweb.quantize.param import PackedTensor, Param, packed_tensors
from mlcweb.quantize.schemes import Scheme
from mlcweb.quantize.searched import Calibration, quantize_searched
from mlcweb.sources.checkpoint import Checkpoint, LazyTensor

_Packed = tuple[npt.NDArray[Any], ...]  # rows of each packed tensor of the parameter, in their order


@dataclass(frozen=True)
class _Task:
    """Some rows of one parameter: consecutive slices of source tensors, each (tensor, start, stop) of its rows."""

    param: Param
    slices: tuple[tuple[LazyTensor, int, int], ...]
    as_gguf_blocks: bool

    @property
    def rows(self) -> int:
        return sum(stop - start for _, start, stop in self.slices)

    @property
    def nbytes(self) -> int:
        """What it reads of the checkpoint."""
        return sum(
            _read_bytes(tensor, self.as_gguf_blocks) * (stop - start) // self.param.rows_of(tensor.shape)
            for tensor, start, stop in self.slices
        )


def quantize_params(
    checkpoint: Checkpoint,
    params: Sequence[Param],
    scheme: Scheme,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    batch_bytes: int = 4 << 20,
    calibration: Calibration | None = None,
) -> Iterator[tuple[PackedTensor, Iterable[npt.NDArray[Any]]]]:
    """Yield every stored tensor of ``params``, in order, with an iterator over consecutive batches of its rows.

    Each batch is a C-contiguous array whose bytes are to be written one after the other. Like
    itertools.groupby, a tensor's batches must be taken before the next tensor is; what is left of them is
    otherwise skipped. About ``2 * workers`` batches of ``batch_bytes`` (of float32 source rows) are in
    memory, and one tensor's scales. Output does not depend on ``workers`` or ``batch_bytes``. ``progress``
    advances by bytes read from the checkpoint. With a ``calibration`` scales are
    searched (``quantize_searched``) where the format has that; without it they are MLC's. Raises
    CheckpointError if a source is missing, has another shape than its parameter, or is not finite.
    """
    for param in params:
        _check(checkpoint, param)
    pack = partial(_pack, scheme=scheme, calibration=calibration)
    return _stream(checkpoint, params, scheme, workers, progress or SilentProgress(), batch_bytes, pack)


def count_bytes(checkpoint: Checkpoint, params: Sequence[Param], scheme: Scheme) -> int:
    """By how many bytes ``quantize_params`` advances in all: a total for the progress stage."""
    return round(
        sum(
            _read_bytes(checkpoint.tensors[name], _as_gguf_blocks(param, scheme))
            * (1 if param.order is None else param.shape[0] / _stacked(checkpoint, param))
            for param in params
            for name in param.sources
        )
    )


def _as_gguf_blocks(param: Param, scheme: Scheme) -> bool:
    """Whether a parameter is taken as a GGUF file has it."""
    stored = param.stored(scheme)
    return isinstance(stored, Format) and stored.codes_from == "gguf"


def _stacked(checkpoint: Checkpoint, param: Param) -> int:
    """Rows of all sources of a parameter."""
    return sum(param.rows_of(checkpoint.tensors[name].shape) for name in param.sources)


def _read_bytes(tensor: LazyTensor, as_gguf_blocks: bool) -> int:
    if as_gguf_blocks and tensor.gguf_blocks is not None:
        return tensor.gguf_blocks.nbytes
    return math.prod(tensor.shape) * (4 if tensor.dtype == "float32" else 2)


def _stream(
    checkpoint: Checkpoint,
    params: Sequence[Param],
    scheme: Scheme,
    workers: int | None,
    progress: Progress,
    batch_bytes: int,
    pack: Callable[[_Task], _Packed],
) -> Iterator[tuple[PackedTensor, Iterable[npt.NDArray[Any]]]]:
    tasks = (task for param in params for task in _cut(checkpoint, param, scheme, batch_bytes))
    count = workers or cores()
    pool = ThreadPoolExecutor(count, thread_name_prefix="quantize")
    ahead: deque[tuple[_Task, Future[_Packed]]] = deque()

    def take() -> tuple[_Task, _Packed]:
        while len(ahead) < 2 * count and (task := next(tasks, None)) is not None:
            ahead.append((task, pool.submit(pack, task)))
        task, future = ahead.popleft()
        packed = future.result()
        progress.advance(task.nbytes)
        return task, packed

    def batches(param: Param, later: list[_Packed]) -> Iterator[npt.NDArray[Any]]:
        rows = 0
        while rows < param.shape[0]:
            task, (first, *rest) = take()
            rows += task.rows
            later.append(tuple(rest))
            yield first

    try:
        for param in params:
            first, *others = packed_tensors(param, scheme)
            later: list[_Packed] = []
            stream = batches(param, later)
            yield first, stream
            deque(stream, maxlen=0)
            for i, packed in enumerate(others):
                yield packed, [rest[i] for rest in later]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _check(checkpoint: Checkpoint, param: Param) -> None:
    """Raise CheckpointError unless the parameter's sources exist and stack to its shape."""
    for name in param.sources:
        if name not in checkpoint.tensors:
            raise CheckpointError(f"the checkpoint lacks {name}, needed for {param.name}")
        shape = checkpoint.tensors[name].shape
        across = shape[:-1] if param.transposed else shape[1:]
        if across != param.shape[1:] or len(shape) != len(param.shape):
            raise CheckpointError(
                f"{name} is {list(shape)}, which is no part of {param.name} {list(param.shape)}"
            )
    rows = _stacked(checkpoint, param)
    if param.order is None and rows != param.shape[0]:
        raise CheckpointError(f"the sources of {param.name} have {rows} rows, expected {param.shape[0]}")
    if param.order is not None and (len(param.order) != param.shape[0] or param.order.max() >= rows):
        raise ValueError(f"{param.name}: no order of {param.shape[0]} of {rows} rows")


def _cut(checkpoint: Checkpoint, param: Param, scheme: Scheme, batch_bytes: int) -> Iterator[_Task]:
    as_gguf_blocks = _as_gguf_blocks(param, scheme)
    row_bytes = 4 * math.prod(param.shape[1:])
    # a transposed source is read whole, so it is cut once
    whole = param.block_order or (param.transposed and not as_gguf_blocks)
    step = param.shape[0] if whole else max(1, batch_bytes // max(row_bytes, 1))
    tensors = [checkpoint.tensors[name] for name in param.sources]
    if param.order is None:
        for tensor in tensors:
            rows = param.rows_of(tensor.shape)
            for start in range(0, rows, step):
                yield _Task(param, ((tensor, start, min(start + step, rows)),), as_gguf_blocks)
        return
    firsts = np.cumsum([0, *(param.rows_of(tensor.shape) for tensor in tensors)])
    for start in range(0, len(param.order), step):
        order = param.order[start : start + step]
        owner = np.searchsorted(firsts, order, side="right") - 1
        runs = np.flatnonzero((np.diff(order) != 1) | (np.diff(owner) != 0)) + 1
        slices = []
        for run in np.split(np.arange(len(order)), runs):
            source = int(owner[run[0]])
            first = int(order[run[0]] - firsts[source])
            slices.append((tensors[source], first, first + len(run)))
        yield _Task(param, tuple(slices), as_gguf_blocks)


def _read(task: _Task) -> npt.NDArray[Any]:
    """The task's rows, as the checkpoint has them."""
    parts = []
    for tensor, start, stop in task.slices:
        if task.param.transposed:
            parts.append(tensor.read()[:, start:stop].T)
        else:
            parts.append(tensor.read(slice(start, stop)))
    values = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if task.param.plus:
        values = values.astype(np.float32) + np.float32(task.param.plus)
    return np.ascontiguousarray(values)


def _read_gguf_blocks(task: _Task) -> npt.NDArray[np.uint8]:
    """The task's rows as their GGUF file has them."""
    parts = [
        tensor.gguf_blocks.load_rows(start, stop)
        for tensor, start, stop in task.slices
        if tensor.gguf_blocks is not None
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _pack(task: _Task, scheme: Scheme, calibration: Calibration | None) -> _Packed:
    stored = task.param.stored(scheme)
    if isinstance(stored, Format) and task.as_gguf_blocks:
        return pack_gguf(_read_gguf_blocks(task), stored)
    values = _read(task)
    factors = calibration.factors.get(task.param.name) if calibration else None
    if factors is not None:
        values = values.astype(np.float32) * factors
    try:
        if isinstance(stored, Format):
            if calibration is not None and stored.searched:
                return quantize_searched(values, stored, calibration.mean_squares.get(task.param.name))
            # The cast comes first as in MLC's conversion, which changes a code in a few hundred.
            return quantize_group(values, stored, cast=True)
        if stored == "bfloat16":
            return (_require_finite(values, stored).view(np.uint32),)
        finite = _require_finite(cast(values, stored), stored)
        return (to_block_order(finite) if task.param.block_order else finite,)
    except CheckpointError as error:
        names = ", ".join(dict.fromkeys(tensor.name for tensor, _, _ in task.slices))
        raise CheckpointError(f"{names}: {error.message}", hint=error.hint) from error


def _require_finite(values: npt.NDArray[Any], activation: str) -> npt.NDArray[Any]:
    if not np.all(np.isfinite(values)):
        raise CheckpointError(f"has values that are infinite, NaN or too large for {activation}")
    return values
