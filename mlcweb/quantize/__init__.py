"""From checkpoint tensors to the tensors a bundle stores, streamed and in parallel."""

from mlcweb.quantize.group import dequantize_group, quantize_group
from mlcweb.quantize.param import PackedTensor, Param, packed_tensors
from mlcweb.quantize.schemes import SCHEMES, Scheme, get_scheme
from mlcweb.quantize.stream import count_bytes, quantize_params

__all__ = [
    "SCHEMES",
    "PackedTensor",
    "Param",
    "Scheme",
    "count_bytes",
    "dequantize_group",
    "get_scheme",
    "packed_tensors",
    "quantize_group",
    "quantize_params",
]
