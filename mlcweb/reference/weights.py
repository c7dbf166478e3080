"""Reads packed weights as float32 rows: any rows are dequantized when they are asked for, and none are kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import ml_dtypes
import numpy as np
import numpy.typing as npt

from mlcweb.contract.constants import BLOCK
from mlcweb.errors import BundleError
from mlcweb.native.matmul import Codes, matmul, matvec
from mlcweb.quantize.formats import Format
from mlcweb.quantize.unpack import unpack, unpack_scales

F32 = npt.NDArray[np.float32]


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


def _from_block_order(vector: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """[D] in its own order, from block order: the first fours of all blocks of 32, then the second fours, …"""
    if len(vector) % BLOCK:
        return vector
    rows: npt.NDArray[Any] = vector.reshape(BLOCK // 4, -1, 4).swapaxes(0, 1).reshape(-1)
    return rows


class PackedWeights:
    """ReferenceWeights over the compiler's packed tensors.

    A parameter P is in one of the ``formats`` (``Scheme.formats``), as names and shapes of P's tensors say, or
    ``P.weight`` (float16 or float32, any shape), ``P.bf16`` (bfloat16 in pairs), or ``P.blocks`` (a vector in block
    order).
    """

    def __init__(self, store: TensorStore, formats: Iterable[Format]) -> None:
        self._store = store
        self._formats = tuple(formats)

    def __contains__(self, name: str) -> bool:
        return self._format(name) is not None or any(f"{name}.{kind}" in self._store for kind in _FLOATS)

    def shape(self, name: str) -> tuple[int, ...]:
        form = self._format(name)
        if form is not None:
            rows, words = self._store.shape(f"{name}.{form.tensors[0]}")
            return rows, words // 13 * 256 if form.trits else words * form.codes_per_word
        stored = self._unquantized(name)
        shape = self._store.shape(stored)
        return (*shape[:-1], shape[-1] * 2) if stored.endswith(".bf16") else shape

    def rows(self, name: str, start: int, stop: int) -> F32:
        form = self._format(name)
        if form is not None:
            return unpack(self._arrays(name, form, start, stop), form)
        stored = self._unquantized(name)
        if stored.endswith(".blocks"):
            whole = _from_block_order(self._store.rows(stored, 0, self._store.shape(stored)[0]))
            return whole[start:stop].astype(np.float32, copy=False)
        values = self._store.rows(stored, start, stop)
        if stored.endswith(".bf16"):
            values = values.view(ml_dtypes.bfloat16)
        wide: F32 = values.astype(np.float32, copy=False)
        return wide

    def products(self, name: str, start: int, stop: int, x: F32) -> F32:
        form = self._format(name)
        if form is None or form.trits:
            # einsum, not BLAS: that has threads of its own, which fight those of the caller
            products: F32 = np.einsum("nk,tk->nt", self.rows(name, start, stop), x)
            return products
        *planes, scales = self._arrays(name, form, start, stop)
        planes = [np.ascontiguousarray(plane) for plane in planes]
        scale, minimum = unpack_scales(scales, form, x.shape[1])
        minimum = None if minimum is None else np.ascontiguousarray(minimum)
        weight = Codes(form, tuple(planes), np.ascontiguousarray(scale), minimum)
        return matvec(weight, x[0])[:, None] if len(x) == 1 else matmul(weight, x)

    def _arrays(self, name: str, form: Format, start: int, stop: int) -> list[npt.NDArray[Any]]:
        return [self._store.rows(f"{name}.{tensor}", start, stop) for tensor in form.tensors]

    def _format(self, name: str) -> Format | None:
        return next((form for form in self._formats if self._is_in(name, form)), None)

    def _is_in(self, name: str, form: Format) -> bool:
        """Whether a parameter is in a format. Names tell it, but for formats that are quantized here: those share
        names, and in a scheme the words of a group tell them apart.
        """
        codes, *_, scales = (f"{name}.{tensor}" for tensor in form.tensors)
        if codes not in self._store or form.codes_from == "gguf":
            return codes in self._store
        words, groups = self._store.shape(codes)[1], self._store.shape(scales)[1]
        return words == groups * form.words(form.group)

    def _unquantized(self, name: str) -> str:
        for kind in _FLOATS:
            if f"{name}.{kind}" in self._store:
                return f"{name}.{kind}"
        raise BundleError(f"the weights have no parameter {name!r}")


_FLOATS = ("weight", "bf16", "blocks")
