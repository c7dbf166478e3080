"""Qwen3.5 (``Qwen3_5ForConditionalGeneration``): Qwen3.5's text model, which sees pictures of any shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from mlcweb.models.families.qwen.qwen3_5 import Qwen35, Qwen35Config
from mlcweb.models.families.qwen.qwen3_vl import QWEN_WORDS, check_fit, with_axes
from mlcweb.models.parts.vision import ImageWords
from mlcweb.models.parts.vision_grid import GridConfig, GridRows
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True, kw_only=True)
class Qwen35VisionConfig(Qwen35Config):
    """The text model's numbers, and the tower's."""

    vision: GridConfig

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> Qwen35VisionConfig:
        """Read config.json, of which the keys of ``text_config`` lie beside ``vision_config`` (sources.text_part).

        Raises CheckpointError for a missing or odd value, UnsupportedError for a variant.
        """
        text = Qwen35Config.from_hf(config)
        vision = GridConfig.from_hf({"deepstack_visual_indexes": [], **config["vision_config"]})
        check_fit(vision, text.hidden_size, text.num_hidden_layers, len(vision.deep))
        ropes = tuple(with_axes(rope, config, (11, 11, 10)) for rope in text.ropes)
        return cls(**{**vars(text), "ropes": ropes}, vision=vision)


class Qwen35Vision(Qwen35):
    """The model."""

    image_words: ClassVar[ImageWords | None] = QWEN_WORDS

    def image_rows(self, config: Qwen35VisionConfig, w: WeightBuilder) -> GridRows:
        return GridRows(config.vision, w, "model.visual", self.context)
