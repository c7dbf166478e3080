"""SmolLM3 (``SmolLM3ForCausalLM``): Llama, of whose layers every fourth has no RoPE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlcweb.errors import CheckpointError
from mlcweb.models.families.llama.llama import Llama, LlamaConfig
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.rope import RopeSettings


@dataclass(frozen=True)
class SmolLM3Config(LlamaConfig):
    """SmolLM3's numbers; the second of its ropes is none."""

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> SmolLM3Config:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        common = cls.common(fields, _windows(fields), tied=True, epsilon=1e-6)
        (rope,) = common["ropes"]
        common["ropes"] = (rope, RopeSettings.none(rope.head_dim, rope.longest_context))
        bias = fields.flag("attention_bias")
        return cls(
            **common,
            layer_ropes=tuple(0 if turns else 1 for turns in _turning(fields)),
            attention_bias=bias,
            output_bias=bias,
            mlp_bias=fields.flag("mlp_bias"),
        )


def _turning(fields: Fields) -> tuple[bool, ...]:
    """Whether a layer has RoPE: ``no_rope_layers`` has a 1 for each that does."""
    layers, given = fields.count("num_hidden_layers"), fields.config.get("no_rope_layers")
    if given is None:
        interval = fields.count("no_rope_layer_interval", 4)
        return tuple((i + 1) % interval != 0 for i in range(layers))
    if not isinstance(given, list) or len(given) != layers or any(turns not in (0, 1) for turns in given):
        raise CheckpointError(f"config.json: no_rope_layers needs a 0 or 1 for each of {layers} layers")
    return tuple(map(bool, given))


def _windows(fields: Fields) -> tuple[int | None, ...]:
    """Off in published models; else of the layers that ``layer_types`` names, by default those without RoPE."""
    window = fields.optional("sliding_window") if fields.flag("use_sliding_window") else None
    sliding = fields.sliding_layers([not turns for turns in _turning(fields)])
    return tuple(window if slides else None for slides in sliding)


class SmolLM3(Llama):
    """The model."""
