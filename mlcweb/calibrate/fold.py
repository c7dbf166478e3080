"""Moves magnitude from a norm into the columns after it before they are rounded; no product changes.

A column whose weights are multiplied by s, and whose inputs are divided by it, is rounded s times finer; the others
of its groups may pay for it. AWQ (Lin et al., 2023) takes for s a power of the inputs' magnitude and tries powers; so
does this, for matrices that have a norm of their own, and keeps for each what errs least.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mlcweb.calibrate.run import Measured
from mlcweb.errors import CheckpointError
from mlcweb.quantize import Format, Param, Scheme
from mlcweb.quantize.searched import Calibration, quantize_searched
from mlcweb.quantize.unpack import unpack
from mlcweb.reference.checkpoint_weights import CheckpointWeights

F32 = npt.NDArray[np.float32]

POWERS = (0.0, 0.1, 0.2, 0.3, 0.4)  # of the inputs' root mean square
_ROWS = 512  # on which powers are tried
_FLOOR = 1e-4  # of the mean input


def folded(
    measured: Measured, weights: CheckpointWeights, params: list[Param], scheme: Scheme
) -> Calibration:
    """The calibration with factors for norms, and the matrices that they are for, where those make errors smaller."""
    by_name = {param.name: param for param in params}
    squares, factors = dict(measured.mean_squares), dict[str, F32]()
    for norms, matrices in measured.norms:
        form = by_name[matrices[0]].stored(scheme)
        if not isinstance(form, Format) or not form.searched:
            continue
        inputs = squares[matrices[0]]
        rows = np.concatenate([_sample(weights, name, _ROWS // len(matrices)) for name in matrices])
        try:
            best = best_factors(rows, form, inputs)
        except CheckpointError:  # quantizing the whole will say which tensor is not finite
            best = None
        if best is None:
            continue
        for name in matrices:
            factors[name], squares[name] = best, _scaled(inputs, 1 / best)
        for name in norms:
            factors[name] = (1 / best).astype(np.float32)
    return Calibration(squares, factors)


def best_factors(rows: F32, form: Format, inputs: F32) -> F32 | None:
    """Factors [K] for rows [N, K] of a matrix whose inputs have these mean squares; None where 1 is best."""
    mean = float(inputs.mean(dtype=np.float64))
    if not 0 < mean < np.inf:
        return None
    errors = [_error(rows, form, inputs, _factors(inputs, mean, power)) for power in POWERS]
    power = POWERS[int(np.argmin(errors))]
    return _factors(inputs, mean, power) if power else None


def _factors(inputs: F32, mean: float, power: float) -> F32:
    factors: F32 = ((inputs / mean + _FLOOR) ** (power / 2)).astype(np.float32)
    return factors


def _scaled(inputs: F32, factors: npt.NDArray[Any]) -> F32:
    """Mean squares of inputs that are multiplied by these."""
    scaled: F32 = (inputs * np.square(factors)).astype(np.float32)
    return scaled


def _error(rows: F32, form: Format, inputs: F32, factors: F32) -> float:
    """Weighted squared error of the rows, stored with these factors."""
    packed = quantize_searched(rows * factors, form, _scaled(inputs, 1 / factors))
    restored = unpack(packed, form)[:, : rows.shape[1]] / factors
    return float(np.square(restored - rows).sum(axis=0, dtype=np.float64) @ inputs)


def _sample(weights: CheckpointWeights, name: str, count: int) -> F32:
    """Rows from all over a matrix, in a few runs."""
    rows, runs = weights.shape(name)[0], 8
    length = max(1, count // runs)
    starts = np.linspace(0, max(0, rows - length), runs).astype(int)
    return np.concatenate(
        [weights.rows(name, int(start), min(int(start) + length, rows)) for start in starts]
    )
