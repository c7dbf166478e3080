"""Puts a vector in block order, in which the kernels read it (``mlcweb.kernels.layouts.block_order`` says why)."""

from typing import Any

import numpy as np
import numpy.typing as npt

from mlcweb.contract.constants import BLOCK


def to_block_order(vector: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """``[…, D]``: the first fours of all blocks of 32, then the second fours, …; as it is if 32 does not divide D."""
    width = vector.shape[-1]
    if width % BLOCK:
        return vector
    fours = vector.reshape(*vector.shape[:-1], width // BLOCK, BLOCK // 4, 4).swapaxes(-2, -3)
    return np.ascontiguousarray(fours).reshape(vector.shape)
