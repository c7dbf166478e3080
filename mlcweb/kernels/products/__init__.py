"""Matrix products: decode's matrix-vector product, and prefill's three."""
