"""The kernel language builds TIR with TVM's IRBuilder, and sums over a workgroup."""
