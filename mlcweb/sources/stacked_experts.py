"""Takes apart experts that a checkpoint has in one tensor, as gpt-oss's has: floats, or MXFP4.

Floats are ``[E, in, out]``. MXFP4 is bytes of two codes ``[E, out, in / 32, 16]``, and scales ``[E, out, in / 32]``
(https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf). Rows of gates and ups
alternate. Every expert becomes matrices ``[out, in]`` of its own, and MXFP4's rows keep their codes as GGUF has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType
from gguf.quants import dequantize

from mlcweb.errors import CheckpointError
from mlcweb.sources.checkpoint import GgufBlocks, LazyTensor

Sampled = tuple[LazyTensor, bytes]
Array = npt.NDArray[Any]
Load = Callable[[int], Array]  # an expert's rows
Read = Callable[[Load, int], Array]

ARCHITECTURES = ("GptOssForCausalLM",)
_EXPERTS = ".mlp.experts."
_PARTS = {"gate_up_proj": ("gate_proj", "up_proj"), "down_proj": ("down_proj",)}  # whose rows alternate
_ENDS = _BLOCKS, _SCALES, _BIAS = "_blocks", "_scales", "_bias"
_GROUP, _BYTES = 32, 16
_KEPT = 4  # experts that are read whole, and kept for the next rows


def without_stacks(
    where: str, config: Mapping[str, Any], tensors: Mapping[str, Sampled]
) -> dict[str, Sampled]:
    """The tensors, those of an architecture that stacks its experts taken apart.

    Raises CheckpointError for a stack of another shape, and for MXFP4 without its scales.
    """
    names = config.get("architectures")
    if not isinstance(names, list) or not names or names[0] not in ARCHITECTURES:
        return dict(tensors)
    found: dict[str, Sampled] = {}
    kept = lru_cache(_KEPT)(_read)
    for name, (tensor, sample) in tensors.items():
        prefix, experts, stem = name.rpartition(_EXPERTS)
        kind = next((kind for kind in _PARTS if stem in (kind, *(kind + end for end in _ENDS))), None)
        if not experts or kind is None:
            found[name] = tensor, sample
            continue
        if stem.endswith(_SCALES):
            if name.removesuffix(_SCALES) + _BLOCKS not in tensors:
                raise _unpaired(where, name, name.removesuffix(_SCALES) + _BLOCKS)
            continue
        stack = _stack(where, name, tensors, kept)
        suffix = "bias" if stem.endswith(_BIAS) else "weight"
        for expert in range(tensor.shape[0]):
            for i, part in enumerate(_PARTS[kind]):
                full = f"{prefix}{_EXPERTS}{expert}.{part}.{suffix}"
                found[full] = stack.part(full, expert, i, len(_PARTS[kind])), sample
    return found


@dataclass(frozen=True)
class _Stack:
    """A tensor of all experts; ``load`` gives one's rows ``[rows, …]``, of ``shape``."""

    shape: tuple[int, ...]
    dtype: str
    load: Load
    read: Read
    mxfp4: bool = False

    def part(self, name: str, expert: int, first: int, step: int) -> LazyTensor:
        """Every ``step``-th row of an expert from ``first`` on."""
        shape = (self.shape[0] // step, *self.shape[1:])
        rows = partial(self._rows, expert, first, step)
        if not self.mxfp4:
            return LazyTensor(name, shape, self.dtype, rows)
        nbytes = shape[0] * shape[1] // _GROUP * (_BYTES + 1)
        return LazyTensor(name, shape, "float32", partial(_floats, rows), GgufBlocks("MXFP4", nbytes, rows))

    def _rows(self, expert: int, first: int, step: int, start: int, stop: int) -> Array:
        return np.ascontiguousarray(self.read(self.load, expert)[first::step][start:stop])


def _stack(where: str, name: str, tensors: Mapping[str, Sampled], kept: Read) -> _Stack:
    tensor = tensors[name][0]
    if name.endswith(_BIAS):
        _check(where, tensor, 2)
        return _Stack(tensor.shape[1:], tensor.dtype, partial(_one, tensor), _read)
    if not name.endswith(_BLOCKS):
        _check(where, tensor, 3)
        return _Stack(tensor.shape[:0:-1], tensor.dtype, partial(_transposed, tensor), kept)
    partner = name.removesuffix(_BLOCKS) + _SCALES
    if partner not in tensors:
        raise _unpaired(where, name, partner)
    scales = tensors[partner][0]
    _check(where, tensor, 4)
    if (
        scales.shape != tensor.shape[:3]
        or tensor.shape[3] != _BYTES
        or {tensor.dtype, scales.dtype} != {"uint8"}
    ):
        raise CheckpointError(
            f"{where}: {scales.name} is {scales.dtype} {list(scales.shape)}, which does not fit {name}, "
            f"{tensor.dtype} {list(tensor.shape)}"
        )
    shape = tensor.shape[1], tensor.shape[2] * _GROUP
    return _Stack(shape, "float32", partial(_gguf_rows, tensor, scales), kept, mxfp4=True)


def _check(where: str, tensor: LazyTensor, axes: int) -> None:
    if len(tensor.shape) != axes or 0 in tensor.shape:
        raise CheckpointError(
            f"{where}: {tensor.name} has the shape {list(tensor.shape)}; experts have {axes} axes there"
        )


def _unpaired(where: str, name: str, partner: str) -> CheckpointError:
    return CheckpointError(f"{where}: {name} has no {partner} beside it", hint="Is the download complete?")


def _read(load: Load, expert: int) -> Array:
    return load(expert)


def _one(tensor: LazyTensor, expert: int) -> Array:
    rows: Array = tensor.read(slice(expert, expert + 1))[0]
    return rows


def _transposed(tensor: LazyTensor, expert: int) -> Array:
    return np.ascontiguousarray(_one(tensor, expert).T)


def _gguf_rows(blocks: LazyTensor, scales: LazyTensor, expert: int) -> npt.NDArray[np.uint8]:
    """An expert's rows as a GGUF file has them, uint8 ``[out, in / 32 * 17]``: before 16 bytes of codes comes their
    scale, and a byte has a code of the first half and one of the second, not two neighbours.
    """
    pairs = _one(blocks, expert)
    codes = np.stack([pairs & 0xF, pairs >> 4], axis=-1).reshape(*pairs.shape[:2], _GROUP)
    packed = codes[..., :_BYTES] | codes[..., _BYTES:] << 4
    rows: npt.NDArray[np.uint8] = np.concatenate([_one(scales, expert)[..., None], packed], axis=-1)
    return rows.reshape(len(rows), -1)


def _floats(rows: Callable[[int, int], Array], start: int, stop: int) -> npt.NDArray[np.float32]:
    values: npt.NDArray[np.float32] = dequantize(rows(start, stop), GGMLQuantizationType.MXFP4)
    return values
