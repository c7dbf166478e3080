"""A mixture of experts: routing, grouping of tokens, and its products' launches."""
