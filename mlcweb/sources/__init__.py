"""Opens models: a Hugging Face repository, folder or GGUF file becomes a Checkpoint; a LoRA can be merged in."""

from mlcweb.sources.adapter.merge import Tie, merge_adapter
from mlcweb.sources.adapter.open import Adapter, open_adapter
from mlcweb.sources.checkpoint import Checkpoint, LazyTensor
from mlcweb.sources.open import open_checkpoint
from mlcweb.sources.require import require, with_matrices, with_prefix

__all__ = [
    "Adapter",
    "Checkpoint",
    "LazyTensor",
    "Tie",
    "merge_adapter",
    "open_adapter",
    "open_checkpoint",
    "require",
    "with_matrices",
    "with_prefix",
]
