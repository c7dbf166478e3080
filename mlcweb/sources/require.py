"""Checks a checkpoint's tensors against what the architecture expects, before any work is spent on them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial

import numpy as np
import numpy.typing as npt

from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.sources.checkpoint import FLOAT_DTYPES, Checkpoint, LazyTensor

# Buffers that old transformers versions saved with the weights, which every implementation recomputes, and the layers
# that predict several tokens, which transformers leaves out too.
IGNORED = (
    "mtp.*",
    "*.rotary_emb.inv_freq",
    "*.attn.bias",
    "*.attn.masked_bias",
    "*.attention.bias",
    "*.attention.masked_bias",
    "*position_ids",
)
_LISTED = 5


def require(
    checkpoint: Checkpoint, expected: Mapping[str, tuple[int, ...]], *, unused: Iterable[str] = ()
) -> None:
    """Check that the checkpoint holds exactly the tensors ``expected``, each of its shape and in floats.

    Extra tensors are an error too: weights that the model definition does not use mean that it is the wrong
    definition, and its answers would be quietly wrong. Those that are ``unused`` may be there too, as a head that is
    tied to the embeddings is in some. Raises CheckpointError (missing, extra, shapes) or UnsupportedError (stored in
    no float type).
    """
    tensors = checkpoint.tensors
    missing = [name for name in expected if name not in tensors]
    if missing:
        raise CheckpointError(
            f"the checkpoint lacks {_enumerate(missing)}",
            hint="Its config.json does not describe these weights, or the download is incomplete.",
        )
    wrong = [
        f"{name} is {list(tensors[name].shape)}, expected {list(shape)}"
        for name, shape in expected.items()
        if tensors[name].shape != tuple(shape)
    ]
    if wrong:
        raise CheckpointError(
            f"shapes disagree with config.json: {_enumerate(wrong, '; ')}",
            hint="Use the config.json that was published with these weights.",
        )
    ignored = [*IGNORED, *unused]
    extra = [
        name
        for name in tensors
        if name not in expected and not any(fnmatchcase(name, pattern) for pattern in ignored)
    ]
    if extra:
        raise CheckpointError(
            f"the checkpoint holds tensors that this architecture does not use: {_enumerate(extra)}",
            hint="It is a variant (adapters, extra heads, biases) that mlcweb would compile wrongly.",
        )
    for name in expected:
        if tensors[name].dtype not in FLOAT_DTYPES:
            raise UnsupportedError(
                f"{name} is stored as {tensors[name].dtype}; mlcweb reads F32, F16 and BF16",
                hint="Compile the unquantized checkpoint.",
            )


def with_prefix(checkpoint: Checkpoint, prefix: str) -> Checkpoint:
    """The checkpoint, its tensors renamed if it was saved without the ``prefix`` of the base model (GPT-2's was).

    Those of products after pooling are not the base model's.
    """
    if any(name.startswith(prefix) for name in checkpoint.tensors):
        return checkpoint
    dense = tuple(f"{layer.name}." for layer in checkpoint.sentence.dense) if checkpoint.sentence else ()
    names = {name: name if name.startswith(dense) else prefix + name for name in checkpoint.tensors}
    tensors = {new: replace(checkpoint.tensors[name], name=new) for name, new in names.items()}
    return replace(checkpoint, tensors=tensors)


def with_matrices(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint, in which a depthwise convolution's taps ``[D, 1, K]`` are a matrix ``[D, K]``, and those of a
    tower's patches ``[D, channels, height, width]`` are one of as many columns as a patch has numbers. Those of
    several moments, ``[D, channels, moments, height, width]``, are summed over them: a picture is the same at all.
    """
    tensors = {name: _matrix(tensor) for name, tensor in checkpoint.tensors.items()}
    return replace(checkpoint, tensors=tensors)


def _matrix(tensor: LazyTensor) -> LazyTensor:
    shape = tensor.shape
    if len(shape) == 4 or (len(shape) == 3 and shape[1] == 1):
        return replace(tensor, shape=(shape[0], math.prod(shape[1:])))
    if len(shape) != 5:
        return tensor
    rows, channels, _, height, width = shape
    matrix = (rows, channels * height * width)
    return replace(tensor, shape=matrix, dtype="float32", load_rows=partial(_over_moments, tensor))


def _over_moments(tensor: LazyTensor, start: int, stop: int) -> npt.NDArray[np.float32]:
    """Rows ``start`` to ``stop``, summed over moments."""
    values: npt.NDArray[np.float32] = tensor.read(slice(start, stop)).astype(np.float32)
    summed: npt.NDArray[np.float32] = values.sum(axis=2).reshape(stop - start, -1)
    return summed


def _enumerate(items: Iterable[str], separator: str = ", ") -> str:
    items = list(items)
    text = separator.join(items[:_LISTED])
    return text if len(items) <= _LISTED else f"{text} and {len(items) - _LISTED} more ({len(items)} in all)"
