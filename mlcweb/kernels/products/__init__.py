"""Multiplies matrices: decode's matrix-vector product, and prefill's three products."""
