"""Where models come from: a Hugging Face repository, a folder, or a GGUF file. All become a Checkpoint."""

from mlcweb.sources.checkpoint import Checkpoint, LazyTensor
from mlcweb.sources.open import open_checkpoint
from mlcweb.sources.require import require, with_prefix

__all__ = ["Checkpoint", "LazyTensor", "open_checkpoint", "require", "with_prefix"]
