"""OLMo-2 (``Olmo2ForCausalLM``): no norm before a half but one after it, and norms over all queries and all keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm.relax.frontend import nn

from mlcweb.models.families.llama.llama import Llama, LlamaConfig
from mlcweb.models.parts.attention import Attention
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.layer import PostNormLayer
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True)
class Olmo2Config(LlamaConfig):
    """OLMo-2's numbers."""

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> Olmo2Config:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        bias = fields.flag("attention_bias")
        return cls(**cls.common(fields), attention_bias=bias, output_bias=bias)


class Olmo2(Llama):
    """The model."""

    head_norms = "full_rms"

    def assemble(
        self, config: Any, w: WeightBuilder, prefix: str, attention: Attention, mlp: nn.Module
    ) -> nn.Module:
        return PostNormLayer(config, w, prefix, attention, mlp)
