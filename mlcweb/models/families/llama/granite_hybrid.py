"""Granite 4's dense models (``GraniteMoeHybridForCausalLM``): Granite 3 under other names, with or without RoPE.

Its other models have Mamba-2 layers, or experts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm.relax.frontend import nn

from mlcweb.errors import UnsupportedError
from mlcweb.models.families.llama.granite import Granite, GraniteConfig, multipliers
from mlcweb.models.parts.fields import Fields, shown
from mlcweb.models.parts.mlp import GatedMLP
from mlcweb.models.parts.rope import RopeSettings
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True, kw_only=True)
class GraniteHybridConfig(GraniteConfig):
    """Granite 4's numbers."""

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> GraniteHybridConfig:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        inner = Fields(config).count("shared_intermediate_size", 1024)
        fields = Fields({**config, "intermediate_size": inner})
        layers, kinds = fields.count("num_hidden_layers"), config.get("layer_types")
        if kinds not in (["attention"] * layers, ["full_attention"] * layers):
            raise UnsupportedError(
                f"config.json has layer_types = {shown(kinds)}, which is not supported; only attention's"
            )
        if config.get("num_local_experts", 8) != 0:
            raise UnsupportedError(
                f"config.json has num_local_experts = {shown(config.get('num_local_experts', 8))}, which is not "
                "supported; only dense models, which have 0"
            )
        common = cls.common(fields, epsilon=1e-6)
        if fields.only("position_embedding_type", "nope", "rope") == "nope":
            common["ropes"] = (RopeSettings.none(common["head_dim"], common["max_position_embeddings"]),)
        bias = fields.flag("attention_bias")
        return cls(**common, **multipliers(fields), attention_bias=bias, output_bias=bias)


class GraniteHybrid(Granite):
    """The model."""

    def mlp(self, config: Any, w: WeightBuilder, prefix: str) -> nn.Module:
        return GatedMLP(
            config,
            w,
            f"{prefix}.shared_mlp",
            names=("input_linear",),
            down="output_linear",
            factor=config.residual_multiplier,
        )
