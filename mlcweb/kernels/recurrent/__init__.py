"""Operations with a state of a fixed size, which each token changes: causal convolutions, and the gated delta
rule."""
