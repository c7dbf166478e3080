"""Kernels of attention over the KV pages, for decode and for prefill."""
