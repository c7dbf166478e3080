"""Reads how a model's pictures are prepared: preprocessor_config.json, or its part of processor_config.json.

The keys are those of transformers' image processors (https://huggingface.co/docs/transformers, as of version 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlcweb.contract.constants import MAX_INT32, MAX_PIXELS, Resampling
from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.sources.tokenizer_files import read_json

PREPROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
_INSIDE = "image_processor"  # the key in processor_config.json
_RESAMPLINGS: dict[int, Resampling] = {1: "lanczos", 2: "bilinear", 3: "bicubic"}  # as Pillow numbers them
_USUAL = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # mean and deviation
_USUAL_WHOLE = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))  # CLIP's
_MUST = ("do_resize", "do_rescale", "do_normalize", "do_convert_rgb")


@dataclass(frozen=True)
class Preprocessor:
    """``tile`` is a tile's side in pixels, and ``longest_edge`` that of a picture which is cut into tiles, None where
    none is. ``mean`` and ``std`` are by channel, of values from 0 to 1. ``whole``: pictures of any shape are seen as
    they are, and there are no tiles.
    """

    resample: Resampling
    mean: tuple[float, ...]
    std: tuple[float, ...]
    tile: int | None = None
    longest_edge: int | None = None
    whole: Whole | None = None


@dataclass(frozen=True)
class Whole:
    """A picture has ``least`` to ``most`` pixels, in patches of ``patch``; ``merge`` x ``merge`` of them are a row."""

    least: int
    most: int
    patch: int
    merge: int


def read_preprocessor(folder: Path) -> Preprocessor:
    """What the folder says. Raises CheckpointError where it says nothing, or something odd."""
    for name in PREPROCESSOR_FILES:
        path = folder / name
        if not path.is_file():
            continue
        config = read_json(path)
        inside = config.get(_INSIDE, config if name == PREPROCESSOR_FILES[0] else None)
        if isinstance(inside, dict):
            return _preprocessor(path, inside)
    raise CheckpointError(
        f"{folder}: has no {' and no '.join(PREPROCESSOR_FILES)}, which says how the model's pictures are prepared",
        hint="Is the download complete? --no-images compiles the text model alone.",
    )


def _preprocessor(path: Path, config: Mapping[str, Any]) -> Preprocessor:
    for key in _MUST:
        if config.get(key) is False:
            raise UnsupportedError(f"{path}: {key} is false, which mlcweb does not do")
    if config.get("do_pan_and_scan"):
        raise UnsupportedError(f"{path}: do_pan_and_scan is true, which mlcweb does not do")
    if abs(config.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-6:
        raise UnsupportedError(f"{path}: rescale_factor is {config['rescale_factor']!r:.40}, not 1/255")
    size = config.get("size")
    square = size if isinstance(size, dict) and "height" in size else None  # in one tile, whatever its shape
    whole = _whole(path, config) if "patch_size" in config and "merge_size" in config else None
    resample = _RESAMPLINGS.get(config.get("resample", 3 if whole else 2 if square else 1))
    if resample is None:
        raise UnsupportedError(
            f"{path}: resample is {config.get('resample')!r:.40}, which mlcweb does not do"
        )
    usual = _USUAL if whole is None else _USUAL_WHOLE
    mean = _channels(path, config, "image_mean", 0.0, usual[0])
    std = _channels(path, config, "image_std", 1 / 255, usual[1])
    if whole is not None:
        return Preprocessor(resample, mean, std, whole=whole)
    split = config.get("do_image_splitting", True) is not False
    return Preprocessor(
        resample,
        mean,
        std,
        tile=_longest(path, config, "max_image_size") if square is None else _square(path, square),
        longest_edge=_longest(path, config, "size") if split and square is None else None,
    )


def _whole(path: Path, config: Mapping[str, Any]) -> Whole:
    """Of Qwen2-VL's image processor and its heirs: ``min_pixels`` and ``max_pixels``, or ``size``, which has them by
    other names.
    """
    size = config.get("size")
    size = size if isinstance(size, dict) else {}

    def count(keys: tuple[str, ...], values: tuple[Any, ...]) -> int:
        value = next((value for value in values if value is not None), None)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= MAX_INT32:
            raise CheckpointError(f"{path}: {' or '.join(keys)} is {value!r:.40}, not a number of pixels")
        return value

    least = count(
        ("min_pixels", "size.shortest_edge"), (config.get("min_pixels"), size.get("shortest_edge"), 56 * 56)
    )
    most = count(
        ("max_pixels", "size.longest_edge"),
        (config.get("max_pixels"), size.get("longest_edge"), 28 * 28 * 1280),
    )
    patch, merge = (count((key,), (config[key],)) for key in ("patch_size", "merge_size"))
    if least > most:
        raise CheckpointError(f"{path}: pictures have {least} pixels at least, and {most} at most")
    return Whole(least, most, patch, merge)


def _longest(path: Path, config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    return _pixels(
        path, f"{key} has no longest_edge", value.get("longest_edge") if isinstance(value, dict) else value
    )


def _square(path: Path, size: Mapping[str, Any]) -> int:
    height, width = (_pixels(path, f"size has no {side}", size.get(side)) for side in ("height", "width"))
    if height != width:
        raise UnsupportedError(f"{path}: size is {height} x {width}, and mlcweb's tiles are squares")
    return height


def _pixels(path: Path, lacks: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= MAX_PIXELS:
        raise CheckpointError(f"{path}: {lacks} that is a number of pixels")
    return value


def _channels(
    path: Path, config: Mapping[str, Any], key: str, least: float, usual: tuple[float, ...]
) -> tuple[float, ...]:
    value = config.get(key, list(usual))
    numbers = isinstance(value, list) and all(isinstance(v, (int, float)) for v in value)
    if not numbers or len(value) != len(usual) or not all(least <= v <= 1 for v in value):
        raise CheckpointError(f"{path}: {key} is {value!r:.80}, not three numbers up to 1")
    return tuple(float(v) for v in value)
