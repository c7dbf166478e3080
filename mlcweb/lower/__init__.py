"""Lowers a model's nn module to memory-planned calls of kernels, and each kernel to WGSL, unless it is cached."""

from mlcweb.lower.entries import Entries, Observe, lower_entries
from mlcweb.lower.kernel import LoweredKernel
from mlcweb.lower.wgsl import lower_kernel

__all__ = ["Entries", "LoweredKernel", "Observe", "lower_entries", "lower_kernel"]
