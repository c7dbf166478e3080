"""Phi-3 and Phi-3.5-mini (``Phi3ForCausalLM``): Llama with fused projections, a sliding window and longrope."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm.relax.frontend import nn

from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.models.families.llama.llama import Llama
from mlcweb.models.families.llama.mistral import MistralConfig
from mlcweb.models.parts.attention import Attention
from mlcweb.models.parts.mlp import GatedMLP
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True, kw_only=True)
class Phi3Config(MistralConfig):
    """Phi-3's numbers, which are of Mistral's kinds."""


class Phi3(Llama):
    """The model."""

    def attention(
        self, config: Any, w: WeightBuilder, layout: HeadLayout, prefix: str, scoring: Scoring, rope: int
    ) -> Attention:
        return Attention(config, w, layout, prefix, scoring=scoring, qkv=("qkv_proj",), rope=rope)

    def mlp(self, config: Any, w: WeightBuilder, prefix: str) -> nn.Module:
        return GatedMLP(config, w, f"{prefix}.mlp", names=("gate_up_proj",))
