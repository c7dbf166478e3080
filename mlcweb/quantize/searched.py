"""Quantizes to MLC's layout with the scales of the least squared error, weighted by each column's inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mlcweb.native.search import search
from mlcweb.quantize.formats import Format
from mlcweb.quantize.group import checked, native, pad


@dataclass(frozen=True)
class Calibration:
    """What ``mlcweb.calibrate`` found, by parameter.

    ``mean_squares`` [K] of a matrix's inputs. ``factors`` [K], of some, multiply a matrix's columns or a vector's
    elements before they are stored: a norm's are one over those of the matrix that it is for.
    """

    mean_squares: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    factors: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)


# Beside the mean input, so that a column that the text did not use still counts for something.
_FLOOR = 1e-3


def quantize_searched(
    weight: npt.NDArray[Any], form: Format, mean_squares: npt.NDArray[np.float32] | None = None
) -> tuple[npt.NDArray[Any], ...]:
    """Quantize ``weight`` ``[N, K]`` (any float dtype) to the arrays ``form.tensors``, as ``quantize_group`` does.

    Layout and decoding are those of ``quantize_group``; codes go to 2 * zero + 1, and a scale may be negative.
    ``mean_squares`` [K] are those of the matrix's inputs; without them all columns count alike. A row's bits depend
    on nothing but the row and them. Raises CheckpointError as ``quantize_group`` does.
    """
    k = weight.shape[1]
    if not form.searched:
        raise ValueError(f"{form.name} has no scales to search")
    importance = _importance(mean_squares, k)
    padded = pad(native(weight), form)
    importance = np.pad(importance, (0, padded.shape[1] - k), constant_values=1.0)
    return checked(search(padded, importance, form), k, form)


def _importance(mean_squares: npt.NDArray[np.float32] | None, k: int) -> npt.NDArray[np.float32]:
    """Each column's share, near 1."""
    mean = 0.0 if mean_squares is None else float(np.mean(mean_squares, dtype=np.float64))
    if mean_squares is None or not 0 < mean < np.inf:
        return np.ones(k, np.float32)
    return (mean_squares.astype(np.float64) / mean + _FLOOR).astype(np.float32)
