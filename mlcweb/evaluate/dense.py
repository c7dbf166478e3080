"""Reads an unquantized bundle's weights for the host reference, whose products then go through BLAS.

The command line keeps BLAS's threads from fighting ours (``mlcweb.cli``).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlcweb.quantize import Scheme
from mlcweb.reference import ReferenceWeights

F32 = npt.NDArray[np.float32]
UNQUANTIZED = "q0f32"  # the scheme whose parameters a checkpoint's values are


class Dense:
    """Other weights, multiplied as dense rows: for those that are stored without codes."""

    def __init__(self, weights: ReferenceWeights) -> None:
        self._weights = weights
        self.shape, self.rows = weights.shape, weights.rows

    def __contains__(self, name: str) -> bool:
        return name in self._weights

    def products(self, name: str, start: int, stop: int, x: F32) -> F32:
        products: F32 = self.rows(name, start, stop) @ x.T
        return products


def dense_or_packed(packed: ReferenceWeights, scheme: Scheme) -> ReferenceWeights:
    """The weights of a bundle in the way that is quicker for its scheme."""
    return packed if scheme.quantizes or scheme.as_it_is else Dense(packed)
