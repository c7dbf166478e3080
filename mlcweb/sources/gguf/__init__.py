"""A GGUF file, or the parts of one, as a checkpoint: its header, its families, and what converters did, undone."""
