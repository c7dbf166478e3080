"""Qwen3-VL (``Qwen3VLForConditionalGeneration``): Qwen3 that sees pictures of any shape."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from mlcweb.contract.manifest import ImagePrompt
from mlcweb.errors import CheckpointError
from mlcweb.kernels.attention.angles import Sections
from mlcweb.models.families.qwen.qwen3 import Qwen3, Qwen3Config
from mlcweb.models.parts.rope import RopeSettings
from mlcweb.models.parts.vision import ImageWords
from mlcweb.models.parts.vision_grid import GridConfig, GridRows
from mlcweb.models.parts.vision_picture import PictureConfig
from mlcweb.models.parts.weights import WeightBuilder

# The chat template has the words around a picture itself.
QWEN_WORDS = ImageWords(
    token="<|image_pad|>",
    row="<|image_pad|>",
    prompt=ImagePrompt(tile="", row_end="", before_whole="", whole="", end=""),
)


@dataclass(frozen=True, kw_only=True)
class Qwen3VLConfig(Qwen3Config):
    """Qwen3's numbers, and the tower's."""

    vision: GridConfig

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> Qwen3VLConfig:
        """Read config.json, of which the keys of ``text_config`` lie beside ``vision_config`` (sources.text_part).

        Raises CheckpointError for a missing or odd value, UnsupportedError for a variant.
        """
        text, vision = Qwen3Config.from_hf(config), GridConfig.from_hf(config["vision_config"])
        check_fit(vision, text.hidden_size, text.num_hidden_layers, len(vision.deep))
        ropes = tuple(with_axes(rope, config, (24, 20, 20)) for rope in text.ropes)
        return cls(**{**vars(text), "ropes": ropes}, vision=vision)


def with_axes(
    rope: RopeSettings, config: dict[str, Any], default: tuple[int, int, int], *, interleaved: bool = True
) -> RopeSettings:
    """RoPE by time, line and column, whose pairs take turns, or lie one axis after the other.

    Raises CheckpointError for odd sections.
    """
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    sizes, pairs = scaling.get("mrope_section", list(default)), rope.dims // 2
    numbers = isinstance(sizes, (list, tuple)) and all(isinstance(n, int) and n > 0 for n in sizes)
    fits = numbers and len(sizes) == 3 and sum(sizes) == pairs
    if not fits or (interleaved and max(3 * sizes[1] - 2, 3 * sizes[2] - 1) >= pairs):
        raise CheckpointError(
            f"config.json: mrope_section is {sizes!r:.80}, which does not divide {pairs} pairs of a head"
        )
    return replace(rope, sections=Sections(tuple(sizes), interleaved))


def check_fit(vision: PictureConfig, hidden: int, layers: int | None = None, deep: int = 0) -> None:
    """Raise CheckpointError where the tower's rows are not the language model's; of ``layers`` the first ``deep`` get
    some.
    """
    if vision.out != hidden:
        raise CheckpointError(
            f"config.json: the tower's out_hidden_size is {vision.out}, and the text model's hidden_size {hidden}"
        )
    if layers is not None and deep > layers:
        raise CheckpointError(
            f"config.json: {deep} layers get rows of pictures, and the text model has {layers}"
        )


class Qwen3VL(Qwen3):
    """The model."""

    image_words: ClassVar[ImageWords | None] = QWEN_WORDS

    def image_rows(self, config: Qwen3VLConfig, w: WeightBuilder) -> GridRows:
        return GridRows(config.vision, w, "model.visual", self.context)
