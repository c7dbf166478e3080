"""Reads a LoRA adapter as PEFT saves it, checks it, and merges it into a checkpoint's tensors as they are read."""
