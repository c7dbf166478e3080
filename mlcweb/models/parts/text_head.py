"""Declares what makes an embedding or a score of a whole text: pooling, products after it, and a length of 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from tvm.relax.frontend import nn

from mlcweb.contract.constants import Pooling
from mlcweb.kernels.ops import Array, Operations, TextOperations
from mlcweb.kernels.products.matvec import Norm
from mlcweb.kernels.products.outputs import Activation
from mlcweb.models.parts.weights import WeightBuilder


@dataclass(frozen=True)
class Dense:
    """A product after pooling: ``norm(activation(linear(x)))``; ``name`` is the checkpoint's, without ``.weight``.

    ``norm`` is the name of a LayerNorm after it, and ``epsilon`` its own.
    """

    name: str
    outputs: int
    bias: bool = False
    activation: Activation | None = None
    norm: str | None = None
    norm_bias: bool = False
    epsilon: float = 1e-5


@dataclass(frozen=True)
class TextTask:
    """What a model makes of a text.

    ``embed``: ``pooling`` of the last layer's rows, ``dense`` products after it, and the length 1 if ``normalized``.
    ``score``: the product with ``scorer``, the checkpoint's name of a row of weights, which may have a bias; or with
    the difference of two rows of the head, ``rows``, those of the tokens for "no" and "yes".
    """

    kind: Literal["embed", "score"]
    pooling: Pooling
    dense: tuple[Dense, ...] = ()
    normalized: bool = False
    scorer: str | None = None
    scorer_bias: bool = False
    rows: tuple[int, int] | None = None


class _Dense(nn.Module):
    def __init__(self, dense: Dense, w: WeightBuilder, inputs: int) -> None:
        self.linear = w.matrix({f"{dense.name}.weight": dense.outputs}, inputs, quantized=False)
        self.bias = w.row({f"{dense.name}.bias": (dense.outputs,)}) if dense.bias else None
        self.norm = None
        if dense.norm:
            self.norm, self.norm_bias = w.norm(dense.norm, dense.outputs, bias=dense.norm_bias)
        self.dense = dense

    def forward(self, ops: TextOperations[Array], x_BD: Array) -> Array:
        y_BD = ops.linear("dense", x_BD, self.linear, bias=self.bias, activation=self.dense.activation)
        if self.norm is None:
            return y_BD
        return ops.norm(y_BD, Norm(self.norm, self.dense.epsilon, True, self.norm_bias))


class TextHead(nn.Module):
    """``task`` of rows that are ``hidden`` wide. ``head``: the tensor that ``task.rows`` are of, and its rows."""

    def __init__(self, task: TextTask, w: WeightBuilder, hidden: int, head: tuple[str, int]) -> None:
        self.task, width = task, hidden
        layers = []
        for dense in task.dense:
            layers.append(_Dense(dense, w, width))
            width = dense.outputs
        self.dense = nn.ModuleList(layers)
        self.scorer, self.scorer_bias = None, None
        if task.rows is not None:
            name, rows = head
            order = np.array(task.rows, np.int64)
            self.scorer = w.matrix({name: rows}, width, quantized=False, order=order)
        elif task.scorer is not None:
            self.scorer = w.matrix({f"{task.scorer}.weight": 1}, width, quantized=False)
            self.scorer_bias = w.row({f"{task.scorer}.bias": (1,)}) if task.scorer_bias else None

    def forward(self, operations: Operations[Array], x_TD: Array) -> Array:
        """Embeddings ``[b, dimensions]`` or scores ``[b, 1]`` of the b texts that ``operations`` is for."""
        ops = cast(TextOperations[Array], operations)
        x_BD = ops.pool(x_TD, self.task.pooling)
        for dense in self.dense:
            x_BD = dense(ops, x_BD)
        if self.scorer is not None:
            return ops.score(x_BD, self.scorer, self.scorer_bias)
        return ops.unit(x_BD) if self.task.normalized else x_BD
