"""The kernel language: a builder over TVM's IRBuilder, and sums over a workgroup."""
