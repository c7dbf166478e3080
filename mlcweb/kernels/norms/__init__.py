"""RMSNorm and LayerNorm, of rows and of each head's queries and keys."""
