"""A LoRA adapter as PEFT saves it: read, checked, and merged into a checkpoint's tensors as they are read."""
