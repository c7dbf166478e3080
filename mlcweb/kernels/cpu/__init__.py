"""Kernels of the CPU tier, which runs in WebAssembly: a kernel's grid has one dimension, of which each thread takes a
range (``mlcweb.lower.host``); vectors have 16 bytes, as SIMD128's.
"""
