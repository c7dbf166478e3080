"""Merges the adapter that a request names into the checkpoint."""

from __future__ import annotations

from mlcweb.models import Decoder
from mlcweb.progress import Progress
from mlcweb.sources import Adapter, Checkpoint, Tie, merge_adapter, open_adapter


def merged(checkpoint: Checkpoint, adapter: str, model: Decoder, progress: Progress) -> Checkpoint:
    """The checkpoint, with its model's tensor names, and the adapter. Raises what opening or merging does."""
    opened = open_adapter(adapter, progress=progress)
    _compare(checkpoint, opened, progress)
    tied = model.config.tie_word_embeddings
    transposed = {name for param in model.params() if param.transposed for name in param.sources}
    tie = Tie(model.outline.embed, model.outline.head) if tied else None
    adapted = merge_adapter(checkpoint, opened, tie=tie, transposed=transposed)
    if tied and adapted.config.get("tie_word_embeddings") is False:
        progress.note(f"{opened.name} trained embedding and head apart: the head is stored too")
    if opened.tokenizer_files:
        progress.note(f"tokenizer and chat template are those saved with {opened.name}")
    return adapted


def _compare(checkpoint: Checkpoint, adapter: Adapter, progress: Progress) -> None:
    """Another model of the same shape merges without an error, and answers worse than either."""
    base, asked = adapter.config.base, checkpoint.source.get("id", "")
    if base and asked and base.rstrip("/").split("/")[-1].lower() != asked.split("/")[-1].lower():
        progress.note(f"{adapter.name} says that it was trained on {base}, not on {asked}")
