"""Where models come from: a Hugging Face repository, a folder, or a GGUF file. All become a Checkpoint,
into which a LoRA adapter can be merged.
"""

from mlcweb.sources.adapter.merge import Tie, merge_adapter
from mlcweb.sources.adapter.open import Adapter, open_adapter
from mlcweb.sources.checkpoint import Checkpoint, LazyTensor
from mlcweb.sources.open import open_checkpoint
from mlcweb.sources.require import require, with_prefix

__all__ = [
    "Adapter",
    "Checkpoint",
    "LazyTensor",
    "Tie",
    "merge_adapter",
    "open_adapter",
    "open_checkpoint",
    "require",
    "with_prefix",
]
