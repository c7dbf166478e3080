"""How tensors lie in memory and how kernels read them: floats, quantized rows, block order, KV pages, pieces."""
