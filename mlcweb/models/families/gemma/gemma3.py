"""Gemma 3's text models (``Gemma3ForCausalLM``): Gemma 2 with norms of heads for caps, and two RoPEs.

EmbeddingGemma (``Gemma3TextModel``) is one whose tokens see those after them too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.models.families.gemma.gemma import check_gemma
from mlcweb.models.families.gemma.gemma2 import Gemma2, Gemma2Config, gemma_scoring
from mlcweb.models.parts.attention import Attention, NormedAttention
from mlcweb.models.parts.decoder import Outline
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.rope import RopeSettings
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True)
class Gemma3Config(Gemma2Config):
    """Gemma 3's numbers; its ropes are the global layers', and that of those with a window."""

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> Gemma3Config:
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        fields = Fields(config)
        check_gemma(fields)
        sizes = cls.sizes(fields, tied=True)
        head_dim, longest = sizes["head_dim"], sizes["max_position_embeddings"]
        local = {"rope_theta": fields.number("rope_local_base_freq", 1e4)}
        ropes = RopeSettings.of_two_kinds(config, head_dim, longest, theta=1e6, local=local)
        pattern = fields.count("sliding_window_pattern", config.get("_sliding_window_pattern", 6))
        scoring = gemma_scoring(fields, sizes["num_hidden_layers"], pattern)
        if fields.flag("use_bidirectional_attention"):
            scoring = tuple(_ahead(layer) for layer in scoring)
        return cls(
            **sizes,
            norm_eps=fields.number("rms_norm_eps", 1e-6),
            ropes=ropes,
            scoring=scoring,
            logit_cap=None,
        )

    @property
    def ahead(self) -> bool:
        return any(layer.ahead for layer in self.scoring)


def _ahead(scoring: Scoring) -> Scoring:
    """EmbeddingGemma's: the window is half on either side, as transformers' config makes it."""
    window = None if scoring.window is None else scoring.window // 2 + 1
    return replace(scoring, window=window, ahead=True)


class Gemma3(Gemma2):
    """The model."""

    def make_outline(self, config: Gemma2Config) -> Outline:
        return Outline(norm_plus=1.0, scale=config.hidden_size**0.5)

    def attention(
        self, config: Any, w: WeightBuilder, layout: HeadLayout, prefix: str, scoring: Scoring
    ) -> Attention:
        rope = 0 if scoring.window is None else 1
        return NormedAttention(config, w, layout, prefix, scoring=scoring, rope=rope, plus=1.0)
