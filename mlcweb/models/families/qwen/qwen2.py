"""Qwen1.5, Qwen2 and Qwen2.5 (``Qwen2ForCausalLM``): Llama with biases of queries, keys and values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlcweb.models.families.llama.llama import Llama, LlamaConfig
from mlcweb.models.parts.fields import Fields


@dataclass(frozen=True)
class Qwen2Config(LlamaConfig):
    """Qwen2's numbers."""

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> Qwen2Config:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        return cls(**cls.common(fields, qwen_windows(fields)), attention_bias=True)


def qwen_windows(fields: Fields) -> tuple[int | None, ...]:
    """Sliding windows, which published models have switched off: of the layers from ``max_window_layers`` on."""
    window, layers = fields.optional("sliding_window"), fields.count("num_hidden_layers")
    if window is None or not fields.flag("use_sliding_window"):
        return (None,) * layers
    first = int(fields.config.get("max_window_layers", 28))
    return tuple(window if i >= first else None for i in range(layers))


class Qwen2(Llama):
    """The model."""
