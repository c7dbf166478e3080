"""Recovers Llama 3's ``rope_scaling`` config from the per-frequency factors that GGUF stores in its place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt


def llama3_factors(
    head_dim: int, theta: float, factor: float, low: float, high: float, context: float
) -> npt.NDArray[np.float64]:
    """What each rope frequency is divided by, ``[head_dim / 2]``: 1 below wavelength ``context / high``,
    ``factor`` above ``context / low``, smooth between (transformers' ``_compute_llama3_parameters``)."""
    turns = context / (2 * math.pi) * theta ** (-np.arange(0, head_dim, 2) / head_dim)
    smooth = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return np.asarray(1.0 / ((1.0 - smooth) / factor + smooth))


def infer_rope_scaling(
    factors: npt.NDArray[np.float64], head_dim: int, theta: float
) -> dict[str, Any] | None:
    """The ``rope_scaling`` whose llama3 factors are ``factors`` (``[head_dim / 2]``), or None if there is
    none.

    Factors that are all 1 are ``{"rope_type": "default"}``: stored, and without effect.
    Between the two bounds the reciprocal is linear in the frequency, so two points there give the bounds,
    up to a common scale of (low, high, context) that changes nothing; published configs have low = 1.
    """
    if factors.shape != (head_dim // 2,) or not np.all(np.isfinite(factors)) or np.any(factors < 1 - 1e-4):
        return None
    if np.allclose(factors, 1.0, rtol=1e-5):
        return {"rope_type": "default"}
    factor = round(float(factors.max()), 3)
    frequency = theta ** (-np.arange(0, head_dim, 2) / head_dim) / (2 * math.pi)
    between = (factors > 1.0 + 1e-4) & (factors < factor * (1 - 1e-4))
    if between.sum() < 2:
        return None
    smooth = (1 / factors[between] - 1 / factor) / (1 - 1 / factor)
    slope, intercept = np.polyfit(frequency[between], smooth, 1)
    if slope <= 0 or intercept >= 0:
        return None
    high = round(1 - 1 / intercept, 2)
    context = round(slope * (high - 1))
    if not np.allclose(llama3_factors(head_dim, theta, factor, 1.0, high, context), factors, rtol=1e-3):
        return None
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": high,
        "original_max_position_embeddings": context,
    }
