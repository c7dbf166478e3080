"""Packed weights as float32 rows: any block of a matrix is dequantized when asked for, none is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mlcweb.errors import BundleError
from mlcweb.native.matmul import matmul, matvec

F32 = npt.NDArray[np.float32]

GROUP = 32


class ReferenceWeights(Protocol):
    """What the reference reads. Names are parameters (``model.layers.0.mlp.down_proj``), not stored tensors.

    Implementations are thread-safe.
    """

    def __contains__(self, name: str) -> bool:
        """Whether there is such a parameter."""

    def shape(self, name: str) -> tuple[int, ...]:
        """[N, K], K with the padding of the last group, or [N]."""

    def rows(self, name: str, start: int, stop: int) -> F32:
        """Rows ``start`` to ``stop`` along N, float32. Raises BundleError when there is no such parameter."""

    def products(self, name: str, start: int, stop: int, x: F32) -> F32:
        """``rows(name, start, stop) @ x.T``, float32 [stop - start, T]; x is [T, K]."""


class TensorStore(Protocol):
    """Stored tensors by name and row; ``mlcweb.bundle.StoredWeights`` is one."""

    def __contains__(self, name: str) -> bool: ...

    def shape(self, name: str) -> tuple[int, ...]: ...

    def rows(self, name: str, start: int, stop: int) -> npt.NDArray[Any]: ...


class ArrayStore:
    """A TensorStore of arrays in memory."""

    def __init__(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self._arrays = arrays

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def shape(self, name: str) -> tuple[int, ...]:
        return self._arrays[name].shape

    def rows(self, name: str, start: int, stop: int) -> npt.NDArray[Any]:
        return self._arrays[name][start:stop]


def _nibble_pairs() -> npt.NDArray[np.uint64]:
    """For each byte, two float32 in one uint64: low nibble - 7, then high nibble - 7. uint64 [256]."""
    codes = np.arange(256)
    pairs = np.stack([(codes & 15) - 7, (codes >> 4) - 7], axis=1).astype(np.float32)
    return pairs.view(np.uint64).reshape(256)


# One lookup a byte is three times as fast in numpy as masks, shifts and casts.
_PAIRS = _nibble_pairs()


def dequantize_rows(q_weight: npt.NDArray[np.uint32], q_scale: npt.NDArray[Any]) -> F32:
    """(code - 7) * scale, MLC's 4-bit layout, lowest nibble first: [N, K/8], [N, K/32] to float32 [N, K]."""
    rows, words = q_weight.shape
    if q_scale.shape != (rows, words * 8 // GROUP):
        raise ValueError(f"scales {q_scale.shape} do not fit codes {q_weight.shape}")
    codes = np.ascontiguousarray(q_weight, "<u4").view(np.uint8)
    # A byte is never out of range: "wrap" only spares numpy the buffered copy that "raise" makes.
    values = np.take(_PAIRS, codes, mode="wrap").view(np.float32).reshape(rows, -1, GROUP)
    values *= q_scale.astype(np.float32)[:, :, None]
    return values.reshape(rows, words * 8)


class PackedWeights:
    """ReferenceWeights over the compiler's packed tensors.

    A parameter P is ``P.q_weight`` (uint32 [N, K/8]) with ``P.q_scale`` (float16 or float32 [N, K/32]), or
    ``P.weight`` (float16 or float32, any shape).
    """

    def __init__(self, store: TensorStore) -> None:
        self._store = store

    def __contains__(self, name: str) -> bool:
        return f"{name}.q_weight" in self._store or f"{name}.weight" in self._store

    def shape(self, name: str) -> tuple[int, ...]:
        if f"{name}.q_weight" in self._store:
            rows, words = self._store.shape(f"{name}.q_weight")
            return rows, words * 8
        self._require(name)
        return self._store.shape(f"{name}.weight")

    def rows(self, name: str, start: int, stop: int) -> F32:
        if f"{name}.q_weight" in self._store:
            codes = self._store.rows(f"{name}.q_weight", start, stop)
            return dequantize_rows(codes, self._store.rows(f"{name}.q_scale", start, stop))
        self._require(name)
        values: F32 = self._store.rows(f"{name}.weight", start, stop).astype(np.float32, copy=False)
        return values

    def products(self, name: str, start: int, stop: int, x: F32) -> F32:
        if f"{name}.q_weight" not in self._store:
            # einsum, not BLAS: that has threads of its own, which fight those of the caller
            products: F32 = np.einsum("nk,tk->nt", self.rows(name, start, stop), x)
            return products
        codes = np.ascontiguousarray(self._store.rows(f"{name}.q_weight", start, stop))
        scales = np.ascontiguousarray(self._store.rows(f"{name}.q_scale", start, stop), np.float32)
        return matvec(codes, scales, x[0])[:, None] if len(x) == 1 else matmul(codes, scales, x)

    def _require(self, name: str) -> None:
        if f"{name}.weight" not in self._store:
            raise BundleError(f"the weights have no parameter {name!r}")
