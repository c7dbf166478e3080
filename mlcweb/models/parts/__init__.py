"""What architectures are built of: configs' fields, weights, attention, MLPs, layers, RoPE, and the decoder around."""
