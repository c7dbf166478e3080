"""Chooses which GGUF type each weight keeps, and makes Q8_0 of those that cannot keep theirs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import quantize

from mlcweb.errors import UnsupportedError
from mlcweb.models import Decoder
from mlcweb.progress import Progress
from mlcweb.quantize import AS_IT_IS, GGUF_FORMATS, Scheme, keep_types
from mlcweb.sources import Checkpoint
from mlcweb.sources.checkpoint import GgufBlocks, LazyTensor

_FLOATS = {"F32", "F16", "BF16"}
_OTHERS = "Q8_0"  # loses next to nothing
_MULTIPLE = 32


def has_types(checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint has types that can be kept: a GGUF file's, or MXFP4."""
    return any(tensor.gguf_blocks is not None for tensor in checkpoint.tensors.values())


def keep_file_types(checkpoint: Checkpoint, model: Decoder, progress: Progress) -> tuple[Checkpoint, Scheme]:
    """The checkpoint, and the scheme that stores its matrices as the file has them.

    What has no such type here (codebooks, such as IQ2_XS), or is not the file's any more (an adapter changed it),
    becomes Q8_0, with a note. Raises UnsupportedError for a checkpoint of another kind than GGUF.
    """
    if not has_types(checkpoint):
        raise UnsupportedError(
            f"--quant {AS_IT_IS} keeps a GGUF file's types, but this model is not a GGUF file",
            hint="Give --quant q4f16_1, for example, or leave --quant out.",
        )
    types: dict[str, str] = {}
    tensors: dict[str, LazyTensor] = dict(checkpoint.tensors)
    changed: dict[str, int] = {}
    for param in model.params():
        for name in param.sources if param.quantized else ():
            tensor = tensors[name]
            blocks = tensor.gguf_blocks
            if blocks is not None and _keeps(blocks, param.transposed):
                types[name] = blocks.kind
            elif not param.transposed and tensor.shape[-1] % _MULTIPLE == 0:
                tensors[name] = replace(
                    tensor, gguf_blocks=GgufBlocks(_OTHERS, _requantized_bytes(tensor), _Requantized(tensor))
                )
                types[name] = _OTHERS
                reason = _reason(checkpoint, tensor)
                changed[reason] = changed.get(reason, 0) + 1
            else:
                types[name] = "F32"
    for reason, count in changed.items():
        what = f"{count} matrices are" if count > 1 else "1 matrix is"
        progress.note(f"{what} stored as {_OTHERS}, quantized again: {reason}")
    return replace(checkpoint, tensors=tensors), keep_types(types)


def _reason(checkpoint: Checkpoint, tensor: LazyTensor) -> str:
    if tensor.gguf_blocks is not None:
        return tensor.gguf_blocks.kind
    return "merged with the adapter" if "adapter" in checkpoint.source else tensor.dtype


def _keeps(blocks: GgufBlocks, transposed: bool) -> bool:
    return blocks.kind in _FLOATS or (blocks.kind in GGUF_FORMATS and blocks.transposed == transposed)


def _requantized_bytes(tensor: LazyTensor) -> int:
    block, size = GGML_QUANT_SIZES[GGMLQuantizationType[_OTHERS]]
    return math.prod(tensor.shape) // int(block) * int(size)


class _Requantized:
    """Rows of a tensor as blocks of Q8_0."""

    def __init__(self, tensor: LazyTensor) -> None:
        self._tensor = tensor

    def __call__(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        values: npt.NDArray[Any] = self._tensor.read(slice(start, stop)).astype(np.float32)
        blocks: npt.NDArray[np.uint8] = quantize(values, GGMLQuantizationType[_OTHERS])
        return blocks
