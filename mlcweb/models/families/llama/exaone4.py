"""EXAONE 4 (``Exaone4ForCausalLM``): norms behind halves and of heads; where layers see a window, others no RoPE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm.relax.frontend import nn

from mlcweb.errors import CheckpointError
from mlcweb.models.families.llama.llama import Llama, LlamaConfig
from mlcweb.models.parts.attention import Attention
from mlcweb.models.parts.fields import Fields, shown
from mlcweb.models.parts.layer import PostNormLayer
from mlcweb.models.parts.rope import RopeSettings
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True)
class Exaone4Config(LlamaConfig):
    """EXAONE 4's numbers; the second of its ropes is none."""

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> Exaone4Config:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        window, sliding = fields.optional("sliding_window"), _sliding(fields)
        common = cls.common(fields, tuple(window if slides else None for slides in sliding), epsilon=1e-5)
        if window is None:
            return cls(**common)
        (rope,) = common["ropes"]
        common["ropes"] = (rope, RopeSettings.none(rope.head_dim, rope.longest_context))
        return cls(**common, layer_ropes=tuple(0 if slides else 1 for slides in sliding))


def _sliding(fields: Fields) -> tuple[bool, ...]:
    """Which layers see a window: ``LLLG`` and 4 mean all but every fourth."""
    layers, pattern = fields.count("num_hidden_layers"), fields.config.get("sliding_window_pattern", 4)
    every = len(pattern) if isinstance(pattern, str) else pattern
    if fields.config.get("layer_types") is not None or fields.config.get("sliding_window") is None:
        every = 1  # says nothing
    if not isinstance(every, int) or isinstance(every, bool) or every < 1:
        raise CheckpointError(f"config.json: sliding_window_pattern is {shown(pattern)}, which no model has")
    return fields.sliding_layers([(i + 1) % every != 0 for i in range(layers)])


class Exaone4(Llama):
    """The model."""

    head_norms = "rms"

    def assemble(
        self, config: Any, w: WeightBuilder, prefix: str, attention: Attention, mlp: nn.Module
    ) -> nn.Module:
        return PostNormLayer(config, w, prefix, attention, mlp)
