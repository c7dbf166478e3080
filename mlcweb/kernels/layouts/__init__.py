"""Says how tensors lie in memory, and reads them in kernels: floats, quantized rows, block order, KV pages, pieces."""
