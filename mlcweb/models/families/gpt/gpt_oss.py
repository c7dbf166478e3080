"""gpt-oss (``GptOssForCausalLM``): Llama with attention sinks, windows in every second layer, biases, and experts of a
clamped SwiGLU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tvm.relax.frontend import nn

from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.products.outputs import ClampedSwiGLU
from mlcweb.models.families.llama.llama import Llama, LlamaConfig
from mlcweb.models.parts.attention import Attention
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.mixture import MixtureMLP, expert_counts
from mlcweb.models.parts.rope import RopeSettings
from mlcweb.models.parts.weights import WeightBuilder

# what a config.json without a scaling means
_YARN = {
    "rope_type": "yarn",
    "factor": 32.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": False,
    "original_max_position_embeddings": 4096,
}


@dataclass(frozen=True, kw_only=True)
class GptOssConfig(LlamaConfig):
    """gpt-oss's numbers; ``intermediate_size`` is an expert's."""

    mixture: ClassVar[bool] = True

    experts: int
    experts_per_token: int
    swiglu: ClampedSwiGLU

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> GptOssConfig:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        if not (config.get("rope_parameters") or config.get("rope_scaling")):
            config = {**config, "rope_scaling": _YARN}
        fields = Fields({"head_dim": 64, **config})
        fields.only("hidden_act", "silu")
        sizes = cls.sizes(fields)
        layers = sizes["num_hidden_layers"]
        rope = RopeSettings.from_hf(
            config, sizes["head_dim"], sizes["max_position_embeddings"], theta=150000.0
        )
        slides = fields.sliding_layers([i % 2 == 0 for i in range(layers)])
        window = fields.optional("sliding_window") if "sliding_window" in config else 128
        bias = fields.flag("attention_bias", True)
        return cls(
            **sizes,
            **expert_counts(fields, "num_local_experts"),
            norm_eps=fields.number("rms_norm_eps", 1e-5),
            ropes=(rope,),
            windows=tuple(window if sliding else None for sliding in slides),
            swiglu=ClampedSwiGLU(fields.number("swiglu_limit", 7.0), fields.number("swiglu_alpha", 1.702)),
            attention_bias=bias,
            output_bias=bias,
        )


class GptOss(Llama):
    """The model."""

    def attention(
        self, config: Any, w: WeightBuilder, layout: HeadLayout, prefix: str, scoring: Scoring, rope: int
    ) -> Attention:
        bias = config.attention_bias
        options: dict[str, Any] = {"scoring": scoring, "rope": rope, "sinks": True}
        return Attention(config, w, layout, prefix, qkv_bias=bias, out_bias=bias, **options)

    def mlp(self, config: Any, w: WeightBuilder, prefix: str) -> nn.Module:
        return MixtureMLP(config, w, f"{prefix}.mlp", router="router", activation=config.swiglu, bias=True)
