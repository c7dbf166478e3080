"""Runs the float model on a text, and keeps the mean square of each input column of each matrix.

That is all that rounding a row of weights needs to know of its inputs, as far as they are independent: the error
that a column's rounding makes in an output has that variance. It is llama.cpp's importance matrix.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits
from tvm.relax.frontend.nn import Tensor

from mlcweb.calibrate.text import spread
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.experts.weights import Experts
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.layouts.pieces import Matrix, SplitGateUp, pieces
from mlcweb.kernels.layouts.storage import Values
from mlcweb.kernels.ops import Rope
from mlcweb.kernels.products.matvec import Norm
from mlcweb.kernels.recurrent.causal_conv import CausalConv
from mlcweb.kernels.recurrent.gated_delta import GatedDelta
from mlcweb.models import Decoder
from mlcweb.progress import Progress, SilentProgress
from mlcweb.reference.checkpoint_weights import CheckpointWeights
from mlcweb.reference.ops import HostOps
from mlcweb.sources import Checkpoint

F32 = npt.NDArray[np.float32]

# Tokens that see each other.
_LENGTH = 512
# Products of a weight and a token: what two cores multiply in some 20 seconds.
_PRODUCTS = 1_000_000_000_000
_MIN_TOKENS, _MAX_TOKENS = 512, 2048


@dataclass(frozen=True)
class Measured:
    """``mean_squares``, float32 [K], of each matrix's inputs, by its parameter's name.

    ``norms``: of norms that are for one matrix alone, the names of weight and bias, and those of the matrix's pieces.
    """

    mean_squares: dict[str, F32]
    norms: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]


def measure(
    checkpoint: Checkpoint,
    model: Decoder,
    tokens: Sequence[int],
    context: int,
    *,
    start: Sequence[int] = (),
    threads: int | None = None,
    progress: Progress | None = None,
) -> Measured:
    """The mean squares of the inputs of each matrix of ``model`` that is multiplied.

    ``tokens`` are a text's; of many, spans from all over it are run, fewer for large models, in sequences that
    fit ``context`` and begin with ``start``, such as a rendered prompt. Weights are read once, some rows at a time;
    memory is that and a layer's activations. Raises CheckpointError when a tensor cannot be read.
    """
    progress = progress or SilentProgress()
    sequences = cut(tokens, start, model, context)
    progress.start("calibrate", model.config.num_hidden_layers)
    weights = CheckpointWeights(checkpoint, model.params())
    ops = _CalibrationOps(
        model, weights, [len(sequence) for sequence in sequences], context, threads, progress
    )
    ops.tokens = [token for sequence in sequences for token in sequence]
    # Batches of rows have a thread each. Threads of BLAS's own wait by spinning, which took twice the time.
    with threadpool_limits(1, "blas"):
        model.forward(ops)
    return Measured(ops.mean_squares(), ops.norms())


def cut(tokens: Sequence[int], start: Sequence[int], model: Decoder, context: int) -> list[list[int]]:
    """The sequences that are run."""
    count = min(max(_PRODUCTS // model.weight_count, _MIN_TOKENS), _MAX_TOKENS)
    chosen = spread(tokens, count)
    longest = min(context, _LENGTH)
    first = list(start[: longest // 2])
    if not chosen:  # a tokenizer that knows nothing of the text
        return [first]
    sequences = -(-len(chosen) // (longest - len(first)))
    length = -(-len(chosen) // sequences)  # all of about one length
    return [first + chosen[i : i + length] for i in range(0, len(chosen), length)]


class _CalibrationOps(HostOps):
    """HostOps over several sequences at once, which sum the squares of what each matrix is given.

    Only embedding and attention know of sequences. The head is not multiplied: nobody reads logits.
    """

    def __init__(
        self,
        model: Decoder,
        weights: CheckpointWeights,
        lengths: Sequence[int],
        context: int,
        threads: int | None,
        progress: Progress,
    ) -> None:
        super().__init__(model, weights, max(lengths), context, threads)
        ends = list(itertools.accumulate(lengths))
        self._spans = [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]
        self._progress = progress
        self._read_again = {id(kv) for kv in model.shared_kv()}
        self._caches: list[dict[int, tuple[F32, F32]]] = [{} for _ in lengths]
        self._sums: dict[str, npt.NDArray[np.float64]] = {}
        self._counts: dict[str, int] = {}
        self._users: dict[
            int, list[tuple[Norm, Matrix | SplitGateUp]]
        ] = {}  # by a norm's weight: the matrices it is for
        self._apart: set[int] = set()  # weights of norms with other uses, and embeddings

    def mean_squares(self) -> dict[str, F32]:
        """By parameter, float32 [K]."""
        return {name: (total / self._counts[name]).astype(np.float32) for name, total in self._sums.items()}

    def embed(self, table: Matrix, **options: Any) -> F32:
        self._apart.add(id(table))
        everything, rows = self.tokens, []
        for span in self._spans:
            self.tokens = everything[span]
            rows.append(super().embed(table, **options))
        self.tokens = everything
        return np.concatenate(rows)

    def linear(
        self, name: str, x: F32, weight: Matrix | SplitGateUp, *, norm: Norm | None = None, **options: Any
    ) -> F32:
        if norm is not None:
            x = super().norm(x, norm)
            self._users.setdefault(id(norm.weight), []).append((norm, weight))
        return super().linear(name, x, weight, **options)

    def norm(self, x: F32, norm: Norm, **options: Any) -> F32:
        self._apart.add(id(norm.weight))
        return super().norm(x, norm, **options)

    def norms(self) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
        """Those for one matrix alone, as ``Measured`` has them."""
        lone = []
        for at, users in self._users.items():
            (norm, weight), *others = users
            if others or at in self._apart or id(weight) in self._apart or isinstance(weight, SplitGateUp):
                continue
            vectors = [vector for vector in (norm.weight, norm.bias) if vector is not None]
            names = tuple(self._names[id(vector)] for vector in vectors)
            lone.append((names, tuple(self._names[id(matrix)] for matrix, _ in pieces(weight))))
        return tuple(lone)

    def attention(
        self,
        qkv: F32,
        rope: Rope,
        kv: Tensor,
        scoring: Scoring,
        layout: HeadLayout,
        sinks: Values | None = None,
    ) -> F32:
        outputs = []
        for span, cache in zip(self._spans, self._caches, strict=True):
            self._kv_cache = cache
            outputs.append(super().attention(qkv[span], rope, kv, scoring, layout, sinks))
            if id(kv) not in self._read_again:
                cache.pop(id(kv))
        self._progress.advance(1)
        return np.concatenate(outputs)

    def rotate_heads(self, qkv: F32, rope: Rope, layout: HeadLayout) -> F32:
        return np.concatenate([HostOps.rotate_heads(self, qkv[span], rope, layout) for span in self._spans])

    def causal_conv(self, x: F32, conv: CausalConv, recurrent: Tensor) -> F32:
        if conv.gated:  # a layer by itself; else the delta rule follows
            self._progress.advance(1)
        return np.concatenate([HostOps.causal_conv(self, x[s], conv, recurrent) for s in self._spans])

    def gated_delta(self, qkv: F32, ba: F32, delta: GatedDelta, recurrent: Tensor) -> F32:
        self._progress.advance(1)
        spans = self._spans
        return np.concatenate([HostOps.gated_delta(self, qkv[s], ba[s], delta, recurrent) for s in spans])

    def head(self, x: F32, norm: Norm, weight: Matrix, **options: Any) -> F32:
        """No logits."""
        self._users.setdefault(id(norm.weight), []).append((norm, weight))
        self._count(super().norm(x, norm), weight)
        return np.zeros((1, 0), np.float32)

    def _product(self, x: F32, weight: Matrix | SplitGateUp) -> F32:
        if not isinstance(weight, SplitGateUp):  # gate and up are products of their own
            self._count(x, weight)
        return super()._product(x, weight)

    def _expert(self, x: F32, experts: Experts, expert: int, bias: Values | None = None) -> F32:
        # the experts of a range share a parameter, and so their inputs' squares
        stack = next(i for i, numbers in enumerate(experts.ranges) if expert in numbers)
        self._count(x, experts[stack])
        return super()._expert(x, experts, expert, bias)

    def _count(self, x: F32, weight: Matrix) -> None:
        squares = np.einsum("tk,tk->k", x, x, dtype=np.float64)
        for matrix, _ in pieces(weight):
            name = self._names[id(matrix)]
            self._sums[name] = self._sums.get(name, 0.0) + squares
            self._counts[name] = self._counts.get(name, 0) + len(x)
