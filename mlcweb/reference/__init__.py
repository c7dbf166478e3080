"""The host reference runs a model in float32, in numpy and native code, and shares no kernel with WebGPU.

It shares a model's definition with them, which tests/browser/test_families.py proves against transformers.
"""

from mlcweb.reference.model import HostModel
from mlcweb.reference.validation import TOLERANCE, int8_difference, make_validation
from mlcweb.reference.weights import ArrayStore, PackedWeights, ReferenceWeights, TensorStore

__all__ = [
    "TOLERANCE",
    "ArrayStore",
    "HostModel",
    "PackedWeights",
    "ReferenceWeights",
    "TensorStore",
    "int8_difference",
    "make_validation",
]
