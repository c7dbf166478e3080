"""A mixture of experts: kernels that route tokens and group them, and the layout of the experts' weights."""
