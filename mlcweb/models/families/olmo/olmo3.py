"""OLMo-3 (``Olmo3ForCausalLM``): OLMo-2, of whose layers three in four see a window; others may have scaled RoPE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlcweb.models.families.olmo.olmo2 import Olmo2, Olmo2Config
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.rope import RopeSettings


@dataclass(frozen=True)
class Olmo3Config(Olmo2Config):
    """OLMo-3's numbers; its ropes are those of the layers that see everything, and of those with a window."""

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> Olmo3Config:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        layers, bias = fields.count("num_hidden_layers"), fields.flag("attention_bias")
        sliding = fields.sliding_layers([(i + 1) % 4 != 0 for i in range(layers)])
        window = fields.count("sliding_window", 4096)
        common = cls.common(fields, tuple(window if slides else None for slides in sliding), epsilon=1e-5)
        common["ropes"] = RopeSettings.of_two_kinds(
            config, common["head_dim"], common["max_position_embeddings"], theta=500000.0
        )
        return cls(**common, layer_ropes=tuple(map(int, sliding)), attention_bias=bias, output_bias=bias)


class Olmo3(Olmo2):
    """The model."""
