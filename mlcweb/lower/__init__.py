"""A model's nn module → Relax → memory-planned calls of kernels, and each kernel → WGSL."""

from mlcweb.lower.entries import Entries, lower_entries
from mlcweb.lower.wgsl import LoweredKernel, lower_kernel

__all__ = ["Entries", "LoweredKernel", "lower_entries", "lower_kernel"]
