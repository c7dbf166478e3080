"""Mistral 7B v0.1 to v0.3 (``MistralForCausalLM``): Llama, whose layers in v0.1 see a sliding window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlcweb.models.families.llama.llama import Llama, LlamaConfig
from mlcweb.models.parts.fields import Fields


@dataclass(frozen=True)
class MistralConfig(LlamaConfig):
    """Mistral's numbers."""

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> MistralConfig:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        return cls(**cls.common(fields, sliding_windows(fields)))


def sliding_windows(fields: Fields) -> tuple[int | None, ...]:
    """Each layer's: the same, or none."""
    return (fields.optional("sliding_window"),) * fields.count("num_hidden_layers")


class Mistral(Llama):
    """The model."""
