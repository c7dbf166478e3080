"""Makes RoPE's config keys from GGUF: from the scaling's metadata, or from the stored factors of frequencies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.sources.gguf.metadata import Metadata, without_noise
from mlcweb.sources.gguf.reader import describe

LLAMA3_FACTORS = "rope_freqs.weight"
LONG_FACTORS, SHORT_FACTORS = "rope_factors_long.weight", "rope_factors_short.weight"
FACTORS = (LLAMA3_FACTORS, LONG_FACTORS, SHORT_FACTORS)


def read_rope(m: Metadata, dims: int) -> dict[str, Any]:
    """``rope_theta`` and ``rope_scaling`` for the ``dims`` dimensions of a head that turn.

    Raises UnsupportedError for a scaling that config.json cannot express, CheckpointError for one that lacks a number.
    """
    theta = m.positive("rope.freq_base", 10000.0)
    return {"rope_theta": theta, "rope_scaling": _read_scaling(m, dims, theta)}


def read_proportional(m: Metadata) -> dict[str, Any]:
    """The RoPE of heads of which the first pairs turn: the others' frequencies are divided by 1e30.

    Raises UnsupportedError for other factors than that and 1.
    """
    scaling: dict[str, Any] = {"rope_type": "proportional", "partial_rotary_factor": 1.0}
    if not m.has_tensor(LLAMA3_FACTORS):
        return scaling
    factors = _read_factors(m, LLAMA3_FACTORS)
    turning = int((factors == 1).sum())
    if not (np.all(factors[:turning] == 1) and np.all(factors[turning:] > 1e29)):
        raise UnsupportedError(
            f"{m.file.path}: its rope factors ({LLAMA3_FACTORS}) are not of the proportional kind",
            hint="Compile the safetensors checkpoint; its config.json says what they are.",
        )
    return scaling | {"partial_rotary_factor": turning / len(factors)}


def _read_scaling(m: Metadata, dims: int, theta: float) -> dict[str, Any] | None:
    # llama.cpp takes a factor without a type for a linear one's
    kind = m.get("rope.scaling.type", str, "linear" if m.has("rope.scaling.factor") else "none")
    if kind == "linear":
        return {"rope_type": "linear", "factor": m.positive("rope.scaling.factor")}
    if kind == "yarn":
        return _read_yarn(m)
    if kind not in ("none", "longrope"):
        raise UnsupportedError(
            f"{m.file.path}: rope scaling {describe(kind)}",
            hint="none, linear, yarn, longrope and llama3 are known.",
        )
    if kind == "longrope" or m.has_tensor(LONG_FACTORS):
        return _read_longrope(m)
    if not m.has_tensor(LLAMA3_FACTORS):
        return None
    scaling = infer_rope_scaling(_read_factors(m, LLAMA3_FACTORS), dims, theta)
    if scaling is None:
        raise UnsupportedError(
            f"{m.file.path}: its rope factors ({LLAMA3_FACTORS}) are not of the llama3 kind",
            hint="Compile the safetensors checkpoint; its config.json says what they are.",
        )
    return scaling


def _read_yarn(m: Metadata) -> dict[str, Any]:
    scaling = {
        "rope_type": "yarn",
        "factor": m.positive("rope.scaling.factor"),
        "original_max_position_embeddings": m.count(
            "rope.scaling.original_context_length", m.count("context_length")
        ),
    }
    for key, name in (
        ("yarn_attn_factor", "attention_factor"),
        ("yarn_beta_fast", "beta_fast"),
        ("yarn_beta_slow", "beta_slow"),
    ):
        if m.has(f"rope.scaling.{key}"):
            scaling[name] = m.number(f"rope.scaling.{key}")
    if m.has(
        "rope.scaling.yarn_log_multiplier"
    ):  # which its models are published with beside an mscale alike
        multiplier = m.positive("rope.scaling.yarn_log_multiplier")
        scaling |= {"mscale": multiplier, "mscale_all_dim": multiplier}
    return scaling


def _read_longrope(m: Metadata) -> dict[str, Any]:
    scaling: dict[str, Any] = {"rope_type": "longrope"}
    for key, name in (("long_factor", LONG_FACTORS), ("short_factor", SHORT_FACTORS)):
        scaling[key] = [without_noise(factor) for factor in _read_factors(m, name)]
    longest, attention = m.count("context_length"), m.number("rope.scaling.attn_factor", None)
    original = m.count("rope.scaling.original_context_length", longest)
    ratio = longest / original
    usual = math.sqrt(1 + math.log(ratio) / math.log(original)) if ratio > 1 and original > 1 else 1.0
    if attention is not None and not math.isclose(attention, usual, rel_tol=1e-5):
        scaling["attention_factor"] = attention
    return scaling


def _read_factors(m: Metadata, name: str) -> npt.NDArray[np.float64]:
    if not m.has_tensor(name):
        raise CheckpointError(f"{m.file.path}: its rope scaling needs {name}")
    tensor = m.file.tensors[name]
    if len(tensor.shape) != 1:
        raise CheckpointError(
            f"{tensor.path}: {name} has the shape {list(tensor.shape)}, not one factor after another"
        )
    return tensor.load_rows(0, tensor.shape[0]).astype(np.float64)


def llama3_factors(
    head_dim: int, theta: float, factor: float, low: float, high: float, context: float
) -> npt.NDArray[np.float64]:
    """What each rope frequency is divided by, ``[head_dim / 2]``: 1 below wavelength ``context / high``,
    ``factor`` above ``context / low``, smooth between (transformers' ``_compute_llama3_parameters``)."""
    rotations = context / (2 * math.pi) * theta ** (-np.arange(0, head_dim, 2) / head_dim)
    smooth = np.clip((rotations - low) / (high - low), 0.0, 1.0)
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
    # in full, it says by its result and not by a warning that there is no such line
    slope, intercept = np.polyfit(frequency[between], smooth, 1, full=True)[0]
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
