"""Kernels as wide as the vocabulary: the embedding's rows, the mask of a constraint, and sampling from logits."""
