"""Has the kernels of a vision tower that no other model has: patches become rows of the language model."""
