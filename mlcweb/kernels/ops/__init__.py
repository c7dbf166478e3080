"""Launches kernels as a model's operations: ``Decode`` works on one token, ``Prefill`` on a chunk of n, ``Texts`` on
whole texts side by side, ``Images`` on patches of pictures.

All are ``Operations``, so a model is written once; each method is one or two launches. ``reference.ops`` is the
same in numpy.
"""

from mlcweb.kernels.ops.decode import Decode
from mlcweb.kernels.ops.images import Images
from mlcweb.kernels.ops.prefill import Prefill
from mlcweb.kernels.ops.prefill_int8 import PrefillInt8
from mlcweb.kernels.ops.prefill_matrix import PrefillMatrix
from mlcweb.kernels.ops.protocol import Array, ImageOperations, Operations, Rope, TextOperations
from mlcweb.kernels.ops.sample import count, mask, penalize, sample
from mlcweb.kernels.ops.shared import Inputs, Target
from mlcweb.kernels.ops.texts import Texts

__all__ = [
    "Array",
    "Decode",
    "ImageOperations",
    "Images",
    "Inputs",
    "Operations",
    "Prefill",
    "PrefillInt8",
    "PrefillMatrix",
    "Rope",
    "Target",
    "TextOperations",
    "Texts",
    "count",
    "mask",
    "penalize",
    "sample",
]
