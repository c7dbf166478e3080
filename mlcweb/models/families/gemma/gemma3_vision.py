"""Gemma 3 of 4B and more (``Gemma3ForConditionalGeneration``): Gemma 3 that sees pictures, each in one tile."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mlcweb.contract.manifest import ImagePrompt
from mlcweb.errors import CheckpointError
from mlcweb.models.families.gemma.gemma3 import Gemma3, Gemma3Config
from mlcweb.models.parts.fields import Fields
from mlcweb.models.parts.image_rows import MeanRows
from mlcweb.models.parts.vision import ImageWords, VisionConfig, VisionTower
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True, kw_only=True)
class Gemma3VisionConfig(Gemma3Config):
    """Gemma 3's numbers, and the tower's."""

    vision: VisionConfig

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> Gemma3VisionConfig:
        """Read config.json, of which the keys of ``text_config`` lie beside ``vision_config`` (sources.text_part).

        Raises CheckpointError for a missing or odd value, UnsupportedError for a variant.
        """
        vision = {"image_size": 224, "patch_size": 16, **config["vision_config"]}
        sizes = Fields(vision)
        side, rows = (
            sizes.count("image_size") // sizes.count("patch_size"),
            Fields(config).count("mm_tokens_per_image", 256),
        )
        rows_side = math.isqrt(rows)
        if rows_side**2 != rows or side < rows_side or side % rows_side:
            raise CheckpointError(
                f"config.json: mm_tokens_per_image is {rows}, which {side} x {side} patches do not make"
            )
        return cls(
            **vars(Gemma3Config.from_hf(config)),
            vision=VisionConfig.from_hf(
                vision,
                side // rows_side,
                hidden_size=768,
                intermediate_size=3072,
                num_hidden_layers=12,
                num_attention_heads=12,
            ),
        )


class Gemma3Vision(Gemma3):
    """The model."""

    image_words: ClassVar[ImageWords | None] = ImageWords(
        token="<start_of_image>",
        row="<image_soft_token>",
        prompt=ImagePrompt(
            tile="", row_end="", before_whole="", whole="\n\n<start_of_image>", end="<end_of_image>\n\n"
        ),
    )

    def image_rows(self, config: Gemma3VisionConfig, w: WeightBuilder) -> MeanRows:
        tower = VisionTower(config.vision, w, "vision_tower", np.arange(config.vision.patches))
        return MeanRows(
            tower,
            w,
            "multi_modal_projector.mm_soft_emb_norm.weight",
            "multi_modal_projector.mm_input_projection_weight",
            config.hidden_size,
        )

    def unused(self) -> list[str]:
        return [*super().unused(), "vision_tower.head.*"]
