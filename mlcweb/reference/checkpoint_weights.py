"""Reads a checkpoint's own values for the host reference, unquantized; products go through BLAS."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from mlcweb.errors import BundleError
from mlcweb.quantize import Param
from mlcweb.sources import Checkpoint

F32 = npt.NDArray[np.float32]


class CheckpointWeights:
    """ReferenceWeights over a checkpoint, read when asked for; parameters are kept until ``keep_bytes`` are in use."""

    def __init__(self, checkpoint: Checkpoint, params: Iterable[Param], keep_bytes: int = 0) -> None:
        self._tensors = checkpoint.tensors
        self._params: Mapping[str, Param] = {param.name: param for param in params}
        self._cached: dict[str, npt.NDArray[np.generic]] = {}
        self._left = keep_bytes
        self._lock = threading.Lock()

    def __contains__(self, name: str) -> bool:
        return name in self._params

    def shape(self, name: str) -> tuple[int, ...]:
        return self._param(name).shape

    def rows(self, name: str, start: int, stop: int) -> F32:
        param = self._param(name)
        with self._lock:
            if name not in self._cached and self._fits(param):
                self._cached[name] = self._read(param, 0, param.shape[0])
            cached = self._cached.get(name)
        values = self._read(param, start, stop) if cached is None else cached[start:stop]
        wide: F32 = values.astype(np.float32, copy=False)
        return wide + np.float32(param.plus) if param.plus else wide

    def products(self, name: str, start: int, stop: int, x: F32) -> F32:
        products: F32 = self.rows(name, start, stop) @ x.T
        return products

    def _param(self, name: str) -> Param:
        if name not in self._params:
            raise BundleError(f"the checkpoint has no parameter {name!r}")
        return self._params[name]

    def _fits(self, param: Param) -> bool:
        """Whether the parameter is kept, which takes its bytes from what is left."""
        item = max(4 if self._tensors[name].dtype == "float32" else 2 for name in param.sources)
        size = int(np.prod(param.shape)) * item
        # a transposed tensor is read whole for any of its rows
        if size > self._left and not param.transposed:
            return False
        self._left -= size
        return True

    def _read(self, param: Param, start: int, stop: int) -> npt.NDArray[np.generic]:
        """Rows ``start`` to ``stop`` of the stacked sources, in the checkpoint's type."""
        order = np.arange(start, stop) if param.order is None else param.order[start:stop]
        tensors = [self._tensors[name] for name in param.sources]
        firsts = np.cumsum([0, *(param.rows_of(tensor.shape) for tensor in tensors)])
        owner = np.searchsorted(firsts, order, side="right") - 1
        runs = np.flatnonzero((np.diff(order) != 1) | (np.diff(owner) != 0)) + 1
        parts = []
        for run in np.split(np.arange(len(order)), runs):
            source = int(owner[run[0]])
            first = int(order[run[0]] - firsts[source])
            rows = slice(first, first + len(run))
            tensor = tensors[source]
            parts.append(tensor.read()[:, rows].T if param.transposed else tensor.read(rows))
        if len(parts) == 1:
            return np.asarray(parts[0])
        return np.concatenate([part.astype(np.float32, copy=False) for part in parts])
