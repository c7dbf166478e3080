"""Mistral 7B v0.1 to v0.3 (``MistralForCausalLM``): Llama, whose layers in v0.1 see a sliding window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlcweb.models.fields import Fields
from mlcweb.models.llama import Llama, LlamaConfig


@dataclass(frozen=True)
class MistralConfig(LlamaConfig):
    """Mistral's numbers."""

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> MistralConfig:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        fields.only("hidden_act", "silu")
        common = cls.common(fields)
        common["windows"] = (fields.optional("sliding_window"),) * common["num_hidden_layers"]
        return cls(**common, attention_bias=False, output_bias=False, mlp_bias=False)


class Mistral(Llama):
    """The model."""
