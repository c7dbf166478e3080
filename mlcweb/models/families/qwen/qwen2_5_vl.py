"""Qwen2.5-VL (``Qwen2_5_VLForConditionalGeneration``): Qwen2.5 that sees pictures of any shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from mlcweb.models.families.qwen.qwen2 import Qwen2, Qwen2Config
from mlcweb.models.families.qwen.qwen3_vl import QWEN_WORDS, check_fit, with_axes
from mlcweb.models.parts.vision import ImageWords
from mlcweb.models.parts.vision_windows import WindowsConfig, WindowsRows
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True, kw_only=True)
class Qwen25VLConfig(Qwen2Config):
    """Qwen2.5's numbers, and the tower's."""

    vision: WindowsConfig

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> Qwen25VLConfig:
        """Read config.json, of which the text model's keys lie beside ``vision_config`` (sources.text_part).

        Raises CheckpointError for a missing or odd value, UnsupportedError for a variant.
        """
        text, vision = Qwen2Config.from_hf(config), WindowsConfig.from_hf(config["vision_config"])
        check_fit(vision, text.hidden_size)
        ropes = tuple(with_axes(rope, config, (16, 24, 24), interleaved=False) for rope in text.ropes)
        return cls(**{**vars(text), "ropes": ropes}, vision=vision)


class Qwen25VL(Qwen2):
    """The model."""

    image_words: ClassVar[ImageWords | None] = QWEN_WORDS

    def image_rows(self, config: Qwen25VLConfig, w: WeightBuilder) -> WindowsRows:
        return WindowsRows(config.vision, w, "model.visual", self.context)
