"""From checkpoint tensors to the tensors a bundle stores, streamed and in parallel."""

from mlcweb.quantize.formats import GGUF_FORMATS, Format
from mlcweb.quantize.group import dequantize_group, quantize_group
from mlcweb.quantize.param import PackedTensor, Param, packed_tensors
from mlcweb.quantize.schemes import AS_IT_IS, SCHEMES, Scheme, get_scheme, keep_types
from mlcweb.quantize.searched import Calibration, quantize_searched, searches
from mlcweb.quantize.stream import count_bytes, quantize_params

__all__ = [
    "AS_IT_IS",
    "GGUF_FORMATS",
    "SCHEMES",
    "Calibration",
    "Format",
    "PackedTensor",
    "Param",
    "Scheme",
    "count_bytes",
    "dequantize_group",
    "get_scheme",
    "keep_types",
    "packed_tensors",
    "quantize_group",
    "quantize_params",
    "quantize_searched",
    "searches",
]
