"""Qwen3 (``Qwen3ForCausalLM``): Llama with an RMSNorm of each query and key head before RoPE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlcweb.models.families.llama.llama import Llama, LlamaConfig
from mlcweb.models.families.qwen.qwen2 import qwen_windows
from mlcweb.models.parts.fields import Fields


@dataclass(frozen=True)
class Qwen3Config(LlamaConfig):
    """Qwen3's numbers."""

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> Qwen3Config:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        bias = fields.flag("attention_bias")
        return cls(**cls.common(fields, qwen_windows(fields)), attention_bias=bias, output_bias=bias)


class Qwen3(Llama):
    """The model."""

    head_norms = "rms"
