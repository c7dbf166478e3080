"""The host reference: the model in float32, numpy and native products, independent of every WebGPU kernel."""

from mlcweb.reference.config import LlamaConfig
from mlcweb.reference.llama import LlamaReference
from mlcweb.reference.validation import TOLERANCE, make_validation
from mlcweb.reference.weights import ArrayStore, PackedWeights, ReferenceWeights, TensorStore

__all__ = [
    "TOLERANCE",
    "ArrayStore",
    "LlamaConfig",
    "LlamaReference",
    "PackedWeights",
    "ReferenceWeights",
    "TensorStore",
    "make_validation",
]
