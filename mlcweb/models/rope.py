"""RoPE's inverse frequencies, by Hugging Face's ``rope_scaling`` types."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from mlcweb.errors import CheckpointError, UnsupportedError


def inverse_frequencies(
    head_dim: int, theta: float, scaling: dict[str, Any] | None
) -> npt.NDArray[np.float64]:
    """``[head_dim / 2]``: theta ** (-2i / head_dim), scaled.

    Types: none or ``default``, ``linear`` (positions divided by ``factor``), ``llama3`` (Llama 3.1's: long
    wavelengths divided by ``factor``, short ones kept, smooth between). Raises UnsupportedError for others,
    CheckpointError for one that lacks a number.
    """
    if scaling is not None and not isinstance(scaling, dict):
        raise CheckpointError(f"config.json: rope_scaling is {scaling!r}, not an object")
    base = theta ** (-np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    kind = (scaling or {}).get("rope_type", (scaling or {}).get("type", "default"))
    if scaling is None or kind == "default":
        return base
    if kind == "linear":
        return base / _number(scaling, "factor")
    if kind != "llama3":
        raise UnsupportedError(
            f"rope_scaling type {kind!r} is not supported; known: default, linear, llama3",
            hint="Only checkpoints with these RoPE scalings can be compiled.",
        )
    factor, low, high = (_number(scaling, f) for f in ("factor", "low_freq_factor", "high_freq_factor"))
    original = _number(scaling, "original_max_position_embeddings")
    wavelength = 2 * math.pi / base
    smooth = np.clip((original / wavelength - low) / (high - low), 0.0, 1.0)
    return (1 - smooth) * base / factor + smooth * base


def _number(scaling: dict[str, Any], key: str) -> float:
    value = scaling.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        raise CheckpointError(f"config.json: rope_scaling needs a positive {key}, not {value!r}")
    return float(value)
