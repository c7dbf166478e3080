"""Packed weights as float32 rows: any block of a matrix is dequantized when asked for, none is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mlcweb.errors import BundleError
from mlcweb.native.matmul import matmul, matvec

F32 = npt.NDArray[np.float32]

# Weights that share a scale, by a code's bits.
_GROUP_SIZES = {3: 40, 4: 32, 8: 32}
LARGEST_GROUP = max(_GROUP_SIZES.values())
_BLOCK = 32


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


def dequantize_rows(q_weight: npt.NDArray[np.uint32], q_scale: npt.NDArray[Any], bits: int = 4) -> F32:
    """(code - max_code) * scale, MLC's layout, lowest bits first: [N, words], [N, groups] to float32 [N, K]."""
    rows, words = q_weight.shape
    each = 32 // bits
    if q_scale.shape[0] != rows or words * each != q_scale.shape[1] * _GROUP_SIZES[bits]:
        raise ValueError(f"scales {q_scale.shape} do not fit codes {q_weight.shape}")
    shifts = np.arange(each, dtype=np.uint32) * np.uint32(bits)
    codes = q_weight[:, :, None] >> shifts & np.uint32((1 << bits) - 1)
    values: F32 = codes.reshape(rows, -1, _GROUP_SIZES[bits]).astype(np.float32) - ((1 << (bits - 1)) - 1)
    values *= q_scale.astype(np.float32)[:, :, None]
    return values.reshape(rows, words * each)


def _from_blocks(vector: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """[D] from the order in which the first fours of all blocks of 32 come first, then the second fours, …"""
    if len(vector) % _BLOCK:
        return vector
    rows: npt.NDArray[Any] = vector.reshape(_BLOCK // 4, -1, 4).swapaxes(0, 1).reshape(-1)
    return rows


class PackedWeights:
    """ReferenceWeights over the compiler's packed tensors.

    A parameter P is ``P.q_weight`` (uint32 [N, words], codes of ``bits`` bits) with ``P.q_scale`` (float16 or float32
    [N, groups]), or ``P.weight`` (float16 or float32, any shape), or ``P.blocks`` (a vector in block order).
    """

    def __init__(self, store: TensorStore, bits: int = 4) -> None:
        self._store = store
        self._bits = bits

    def __contains__(self, name: str) -> bool:
        return any(f"{name}.{kind}" in self._store for kind in ("q_weight", "weight", "blocks"))

    def shape(self, name: str) -> tuple[int, ...]:
        if f"{name}.q_weight" in self._store:
            rows, words = self._store.shape(f"{name}.q_weight")
            return rows, words * (32 // self._bits)
        return self._store.shape(self._unquantized(name))

    def rows(self, name: str, start: int, stop: int) -> F32:
        if f"{name}.q_weight" in self._store:
            codes = self._store.rows(f"{name}.q_weight", start, stop)
            return dequantize_rows(codes, self._store.rows(f"{name}.q_scale", start, stop), self._bits)
        stored = self._unquantized(name)
        if stored.endswith(".blocks"):
            whole = _from_blocks(self._store.rows(stored, 0, self._store.shape(stored)[0]))
            return whole[start:stop].astype(np.float32, copy=False)
        values: F32 = self._store.rows(stored, start, stop).astype(np.float32, copy=False)
        return values

    def products(self, name: str, start: int, stop: int, x: F32) -> F32:
        if f"{name}.q_weight" not in self._store:
            # einsum, not BLAS: that has threads of its own, which fight those of the caller
            products: F32 = np.einsum("nk,tk->nt", self.rows(name, start, stop), x)
            return products
        codes = np.ascontiguousarray(self._store.rows(f"{name}.q_weight", start, stop))
        scales = np.ascontiguousarray(self._store.rows(f"{name}.q_scale", start, stop), np.float32)
        if len(x) == 1:
            return matvec(codes, scales, x[0], self._bits)[:, None]
        return matmul(codes, scales, x, self._bits)

    def _unquantized(self, name: str) -> str:
        for stored in (f"{name}.weight", f"{name}.blocks"):
            if stored in self._store:
                return stored
        raise BundleError(f"the weights have no parameter {name!r}")
