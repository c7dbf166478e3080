"""Kernels over whole texts side by side, without a KV cache: attention within each text, pooling, scores."""
