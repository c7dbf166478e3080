"""Idefics 3, SmolVLM and SmolVLM2 (``Idefics3ForConditionalGeneration``, ``SmolVLMForConditionalGeneration``): Llama
that sees tiles of pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mlcweb.contract.manifest import ImagePrompt
from mlcweb.models.families.llama.llama import Llama, LlamaConfig
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.image_rows import JoinedRows
from mlcweb.models.parts.vision import ImageWords, VisionConfig, VisionTower
from mlcweb.models.parts.weights import Order, WeightBuilder


@dataclass(frozen=True, kw_only=True)
class Idefics3Config(LlamaConfig):
    """Llama's numbers, and the tower's."""

    vision: VisionConfig

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> Idefics3Config:
        """Read config.json, of which the keys of ``text_config`` lie beside ``vision_config`` (sources.text_part).

        Raises CheckpointError for a missing or odd value, UnsupportedError for a variant.
        """
        llama = LlamaConfig.from_hf(config)
        vision = VisionConfig.from_hf(
            config["vision_config"],
            Fields(config).count("scale_factor", 2),
            hidden_size=1152,
            intermediate_size=3072,
            num_hidden_layers=12,
            num_attention_heads=16,
            image_size=224,
            patch_size=32,
        )
        return cls(**vars(llama), vision=vision)


class Idefics3(Llama):
    """The model."""

    image_words: ClassVar[ImageWords | None] = ImageWords(
        token="<image>",
        row="<image>",
        prompt=ImagePrompt(
            tile="<fake_token_around_image><row_{row}_col_{column}>",
            row_end="\n",
            before_whole="\n",
            whole="<fake_token_around_image><global-img>",
            end="<fake_token_around_image>",
        ),
    )

    def image_rows(self, config: Idefics3Config, w: WeightBuilder) -> JoinedRows:
        tower = VisionTower(config.vision, w, "model.vision_model", positions_of(config.vision.side))
        return JoinedRows(tower, w, "model.connector.modality_projection.proj.weight", config.hidden_size)


def positions_of(side: int) -> Order:
    """The row of the table for each patch, line by line, of a tile that is seen whole.

    Transformers finds it by comparing fractions of float32, which for some sizes is the row before.
    """
    edges = (1 / side + np.arange(side - 1) * (1 / side)).astype(np.float32)
    steps = np.arange(side, dtype=np.float32) * (np.float32(1) / np.float32(side))
    found = np.searchsorted(edges, np.minimum(steps, np.float32(1 - 1e-6)), side="right")
    rows: Order = (found[:, None] * side + found).reshape(-1)
    return rows
