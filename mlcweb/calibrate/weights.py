"""A checkpoint's own weights for the host reference, in float32: rows are read when asked for, none is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from mlcweb.errors import BundleError
from mlcweb.quantize import Param
from mlcweb.sources import Checkpoint

F32 = npt.NDArray[np.float32]


class CheckpointWeights:
    """ReferenceWeights over the tensors that ``params`` are made of. Thread-safe."""

    def __init__(self, checkpoint: Checkpoint, params: Sequence[Param]) -> None:
        self._tensors = checkpoint.tensors
        self._params = {param.name: param for param in params}

    def __contains__(self, name: str) -> bool:
        return name in self._params

    def shape(self, name: str) -> tuple[int, ...]:
        return self._param(name).shape

    def rows(self, name: str, start: int, stop: int) -> F32:
        param = self._param(name)
        parts = [
            self._read(param, source, first, last) for source, first, last in self._runs(param, start, stop)
        ]
        values = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return values + np.float32(param.plus) if param.plus else values

    def products(self, name: str, start: int, stop: int, x: F32) -> F32:
        products: F32 = self.rows(name, start, stop) @ x.T
        return products

    def _param(self, name: str) -> Param:
        if name not in self._params:
            raise BundleError(f"the weights have no parameter {name!r}")
        return self._params[name]

    def _runs(self, param: Param, start: int, stop: int) -> Iterator[tuple[str, int, int]]:
        """Rows ``start`` to ``stop`` of a parameter as spans of its sources: (name, first, last)."""
        counts = [param.rows_of(self._tensors[name].shape) for name in param.sources]
        firsts = np.cumsum([0, *counts])
        rows = np.arange(start, stop) if param.order is None else param.order[start:stop]
        owners = np.searchsorted(firsts, rows, side="right") - 1
        breaks = np.flatnonzero((np.diff(rows) != 1) | (np.diff(owners) != 0)) + 1
        for run in np.split(np.arange(len(rows)), breaks):
            owner = int(owners[run[0]])
            first = int(rows[run[0]] - firsts[owner])
            yield param.sources[owner], first, first + len(run)

    def _read(self, param: Param, source: str, first: int, last: int) -> F32:
        tensor = self._tensors[source]
        values = tensor.read()[:, first:last].T if param.transposed else tensor.read(slice(first, last))
        floats: F32 = values.astype(np.float32)
        return floats
