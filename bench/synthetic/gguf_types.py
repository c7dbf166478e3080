"""Matrices of every GGUF type, drawn from a seed: all bits of codes and scales occur, and halves are finite."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize

from mlcweb.quantize.formats import GGUF_FORMATS

QUANTIZED = tuple(GGUF_FORMATS)
FLOATS = ("F32", "F16", "BF16")

# Where a block has its float16 numbers.
_HALVES = {
    **dict.fromkeys(("Q4_0", "Q5_0", "Q8_0", "IQ4_NL", "IQ4_XS"), (0,)),
    **dict.fromkeys(("Q4_1", "Q5_1", "Q4_K", "Q5_K"), (0, 2)),
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q6_K": (208,),
    "MXFP4": (),
    "TQ1_0": (52,),
    "TQ2_0": (64,),
    "IQ2_XXS": (0,),
}


def block_size(kind: str) -> int:
    """Weights of a block."""
    return int(GGML_QUANT_SIZES[GGMLQuantizationType[kind]][0])


def draw(kind: str, rows: int, k: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """The bytes of a matrix ``[rows, k]``, uint8 ``[rows, bytes of a row]``; weights are about a tenth at most."""
    block, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    if kind in FLOATS:
        values = (rng.standard_normal((rows, k)) * 0.1).astype(np.float32)
        if kind == "BF16":
            return np.ascontiguousarray(values.view(np.uint16)[:, 1::2]).view(np.uint8)
        return values.astype(np.float32 if kind == "F32" else np.float16).view(np.uint8)
    blocks = rng.integers(0, 256, (rows * k // block, size), dtype=np.uint8)
    form = GGUF_FORMATS.get(kind)
    largest = 256  # of codebooks
    if form is not None:
        largest = max(map(abs, form.levels)) if form.levels else 1 << form.bits
        largest *= 1 << form.sub_bits
    for at in _HALVES[kind]:
        halves = (rng.uniform(-0.2, 0.2, len(blocks)) / largest).astype(np.float16)
        halves[::17] = np.float16(3e-7)  # a subnormal one
        blocks[:, at : at + 2] = halves.view(np.uint8).reshape(-1, 2)
    if kind == "MXFP4":
        blocks[:, 0] = rng.integers(116, 122, len(blocks))
    return blocks.reshape(rows, -1)


def values(raw: npt.NDArray[np.uint8], kind: str) -> npt.NDArray[np.float32]:
    """What the gguf library makes of it: float32 ``[rows, k]``."""
    weights = dequantize(raw, GGMLQuantizationType[kind]).astype(np.float32)
    return weights.reshape(len(raw), -1)
