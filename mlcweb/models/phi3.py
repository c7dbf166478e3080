"""Phi-3 and Phi-3.5-mini (``Phi3ForCausalLM``): Llama with fused projections, a sliding window and longrope."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm.relax.frontend import nn

from mlcweb.kernels.cache import HeadLayout
from mlcweb.kernels.scores import Scores
from mlcweb.models.attention import Attention
from mlcweb.models.fields import Fields
from mlcweb.models.llama import Llama, LlamaConfig, LlamaLayer
from mlcweb.models.mlp import GatedMLP
from mlcweb.models.weights import Weights


@dataclass(frozen=True)
class Phi3Config(LlamaConfig):
    """Phi-3's numbers."""

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> Phi3Config:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        fields.only("hidden_act", "silu")
        common = cls.common(fields)
        common["windows"] = (fields.optional("sliding_window"),) * common["num_hidden_layers"]
        return cls(**common, attention_bias=False, output_bias=False, mlp_bias=False)


class Phi3Layer(LlamaLayer):
    """Its gate and up are one tensor."""

    def make_mlp(self, config: LlamaConfig, w: Weights, prefix: str) -> nn.Module:
        return GatedMLP(config, w, prefix, names=("gate_up_proj",))


class Phi3(Llama):
    """The model."""

    def layer(self, config: Any, w: Weights, layout: HeadLayout, index: int) -> nn.Module:
        prefix = f"model.layers.{index}.self_attn"
        scores = Scores(config.head_dim**-0.5, window=config.windows[index])
        attention = Attention(config, w, layout, prefix, scores=scores, qkv=("qkv_proj",))
        return Phi3Layer(config, w, layout, index, attention)
