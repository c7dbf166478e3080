"""Rotary position embedding in Hugging Face's layout: dimension i turns with dimension i + head_dim/2."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]


def inverse_frequencies(head_dim: int, rope: Mapping[str, Any]) -> F32:
    """Radians a position, float32 [head_dim / 2], rounded as transformers' ``modeling_rope_utils.py`` rounds.

    ``linear`` slows every wave by ``factor``. ``llama3`` (Llama 3.1, ``_compute_llama3_parameters``) slows by
    ``factor`` the waves of which the original context holds fewer than ``low_freq_factor``, keeps those of which
    it holds ``high_freq_factor`` or more, and blends between.
    """
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    frequencies: F32 = np.float32(1) / np.power(np.float32(rope["rope_theta"]), exponents)
    if rope["rope_type"] == "default":
        return frequencies
    if rope["rope_type"] == "linear":
        slowed: F32 = frequencies / np.float32(rope["factor"])
        return slowed
    factor, low, high = rope["factor"], rope["low_freq_factor"], rope["high_freq_factor"]
    original = rope["original_max_position_embeddings"]
    wavelengths = np.float32(2 * math.pi) / frequencies
    blend = np.clip((original / wavelengths - low) / np.float32(high - low), 0, 1)
    scaled: F32 = ((1 - blend) * frequencies / factor + blend * frequencies).astype(np.float32)
    return scaled


def rotate(x: F32, positions: npt.NDArray[np.int64], frequencies: F32) -> F32:
    """Turn x, float32 [T, heads, head_dim], by its positions [T]; returns a new array."""
    angles = positions.astype(np.float32)[:, None] * frequencies
    cos, sin = np.cos(angles)[:, None, :], np.sin(angles)[:, None, :]
    first, second = np.split(x, 2, axis=-1)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
