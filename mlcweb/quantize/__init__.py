"""Makes the tensors that a bundle stores of a checkpoint's, streamed and in parallel.

What is here says how weights are stored, and loads neither numpy nor TVM. The work is in ``stream``, with ``group``,
``searched`` and ``pack``; ``unpack`` is the way back.
"""

from mlcweb.quantize.formats import GGUF_FORMATS, Format
from mlcweb.quantize.param import PackedTensor, Param, packed_tensors
from mlcweb.quantize.schemes import AS_IT_IS, SCHEMES, Part, Scheme, get_scheme, keep_types

__all__ = [
    "AS_IT_IS",
    "GGUF_FORMATS",
    "SCHEMES",
    "Format",
    "PackedTensor",
    "Param",
    "Part",
    "Scheme",
    "get_scheme",
    "keep_types",
    "packed_tensors",
]
