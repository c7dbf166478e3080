"""Reads a GGUF file, or the parts of one, as a checkpoint, and undoes what converters did."""
