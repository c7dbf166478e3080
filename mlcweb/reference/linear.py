"""Computes x @ W.T, and dequantizes a batch of W's rows at a time: no matrix is ever whole in float32."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from mlcweb.cores import cores
from mlcweb.quantize.schemes import LARGEST_GROUP
from mlcweb.reference.weights import ReferenceWeights

F32 = npt.NDArray[np.float32]

# Weights that a thread takes at a time: 2 MB of codes, so that calls are few.
BATCH_WEIGHTS = 1 << 22


class Linear:
    """Matrix products with named weights. Memory beside the result: a few times 2 MB a thread, 16 MB for q0.

    Batches of rows go to threads, each dequantized and multiplied in native code, which waits for no lock.
    """

    def __init__(self, weights: ReferenceWeights, threads: int | None = None) -> None:
        """``threads`` share a product; as many as cores without it."""
        self._weights = weights
        self._pool = ThreadPoolExecutor(threads or cores(), thread_name_prefix="reference")

    def __call__(self, x: F32, name: str, part: range | None = None) -> F32:
        """x [T, K] times the parameter [N, K or K padded to its groups], or only its rows ``part``: float32 [T, N].

        Raises BundleError when there is no such parameter, ValueError when its width does not fit x.
        """
        rows, width = self._weights.shape(name)
        inputs = x.shape[1]
        if not inputs <= width < inputs + LARGEST_GROUP:
            raise ValueError(f"{name} has {width} columns for {inputs} inputs")
        part = part or range(rows)
        out = np.empty((x.shape[0], len(part)), np.float32)
        step = max(1, BATCH_WEIGHTS // width)
        padded = np.pad(x, ((0, 0), (0, width - inputs)))

        def multiply(start: int) -> None:
            stop = min(start + step, part.stop)
            products = self._weights.products(name, start, stop, padded)
            out[:, start - part.start : stop - part.start] = products.T

        for _ in self._pool.map(multiply, range(part.start, part.stop, step)):
            pass
        return out
