"""Ernie 4.5's dense models (``Ernie4_5ForCausalLM``): Llama, whose RoPE turns neighbouring dimensions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mlcweb.models.families.llama.llama import Llama, LlamaConfig
from mlcweb.models.parts.fields import Fields


@dataclass(frozen=True)
class Ernie4_5Config(LlamaConfig):
    """Ernie 4.5's numbers."""

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> Ernie4_5Config:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields({"head_dim": 128, **config})
        common = cls.common(fields, tied=True, epsilon=1e-5, theta=500000.0)
        common["ropes"] = tuple(replace(rope, neighbours=True) for rope in common["ropes"])
        bias = fields.flag("use_bias")
        return cls(**common, attention_bias=bias, output_bias=bias, mlp_bias=bias)


class Ernie4_5(Llama):
    """The model."""
