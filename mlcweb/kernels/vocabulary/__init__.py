"""Kernels as wide as the vocabulary: the embedding's rows, and sampling from logits."""
