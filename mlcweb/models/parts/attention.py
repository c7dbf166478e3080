"""Declares self-attention's weights and launches it, as every architecture does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from tvm.relax.frontend import nn

from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.layouts.storage import Values
from mlcweb.kernels.norms.head_norm import HeadNorm
from mlcweb.kernels.ops import Array
from mlcweb.kernels.products.matvec import Norm
from mlcweb.models.parts.decoder import DecoderConfig, Step
from mlcweb.models.parts.rope import RopeSettings
from mlcweb.models.parts.weights import Order, WeightBuilder


class Attention(nn.Module):
    """Queries, keys and values of one product, heads, and the product after them.

    ``prefix`` is the checkpoint's, ``qkv`` and ``out`` its names of the projections: three, or one that is fused.
    ``rope`` is which of the config's. ``fused_order`` names the row of a fused tensor that is in each place of
    queries, keys and values, one after the other. ``factor`` is what the outputs are multiplied by. ``gated``: heads
    are multiplied by the sigmoid of gates, which the checkpoint has beside each head's queries. ``shared`` is an
    earlier layer's KV cache, which this one reads: it has queries alone. ``sinks``: the checkpoint has a score of each
    head that joins its softmax, and no value with it. ``rope_before_norm`` is which RoPE turns queries and keys before
    their norm, where ``rope`` turns nothing. ``head_gate``: the checkpoint's name of a projection to a gate for each
    head, whose sigmoid the head's outputs are multiplied by.
    """

    def __init__(
        self,
        config: DecoderConfig,
        w: WeightBuilder,
        layout: HeadLayout,
        prefix: str,
        *,
        scoring: Scoring,
        qkv: tuple[str, ...] = ("q_proj", "k_proj", "v_proj"),
        out: str = "o_proj",
        qkv_bias: bool = False,
        out_bias: bool = False,
        rope: int = 0,
        fused_order: Order | None = None,
        transposed: bool = False,
        factor: float = 1.0,
        gated: bool = False,
        shared: nn.Parameter | None = None,
        sinks: bool = False,
        rope_before_norm: int | None = None,
        head_gate: str | None = None,
    ) -> None:
        hidden, width = config.hidden_size, config.query_width
        each: tuple[int, ...] = (width, config.key_width, config.key_width)
        if shared is not None:
            layout, qkv, each = replace(layout, appends=False), qkv[:1], (width,)
        gates = None
        if gated:
            pairs = np.arange(2 * width).reshape(-1, 2, config.head_dim)
            gates, keys_values = pairs[:, 1].reshape(-1), np.arange(2 * config.key_width) + 2 * width
            fused_order = np.concatenate([pairs[:, 0].reshape(-1), keys_values])
            each = (2 * width, config.key_width, config.key_width)
        rows = dict(zip(qkv, each if len(qkv) == 3 else (sum(each),), strict=True))
        order = qkv_order(config, config.ropes[rope])
        if order is not None:
            order = order[: sum(each)]
        if fused_order is not None:
            order = fused_order if order is None else fused_order[order]
        self.qkv_proj = w.matrix(
            {f"{prefix}.{n}.weight": r for n, r in rows.items()}, hidden, order=order, transposed=transposed
        )
        biases = {f"{prefix}.{n}.bias": (r,) for n, r in rows.items()}
        self.qkv_bias = w.row(biases, order=order) if qkv_bias else None
        self.gate_proj = (
            None if gates is None else w.matrix({f"{prefix}.{qkv[0]}.weight": each[0]}, hidden, order=gates)
        )
        self.o_proj = w.matrix({f"{prefix}.{out}.weight": hidden}, width, transposed=transposed)
        self.o_bias = w.row({f"{prefix}.{out}.bias": (hidden,)}) if out_bias else None
        self.sinks = w.row({f"{prefix}.sinks": (config.num_attention_heads,)}) if sinks else None
        kv = shared
        if shared is None and layout.pages:  # a tower keeps nothing
            kv = self.kv = nn.Parameter(layout.page_shape, dtype=layout.storage)
        # in a tuple, in which nobody looks for a layer's own parameters
        self.reads = (kv,)
        self.scoring, self.rope, self.factor, self.layout = scoring, rope, factor, layout
        self.rope_before_norm = rope_before_norm
        gate = {f"{prefix}.{head_gate}.weight": config.num_attention_heads}
        self.head_gate = w.matrix(gate, hidden) if head_gate else None

    def head_norm(self) -> HeadNorm | None:
        """The norm of queries and keys, for architectures that have one."""
        return None

    def forward(self, step: Step[Array], x_TD: Array, norm: Norm | None, residual: Array | None) -> Array:
        """``residual + factor * attention(norm(x))``."""
        ops, head_norm = step.ops, self.head_norm()
        qkv_TQ = ops.linear("qkv", x_TD, self.qkv_proj, norm=norm, bias=self.qkv_bias, rows=True)
        if self.rope_before_norm is not None:
            qkv_TQ = ops.rotate_heads(qkv_TQ, step.ropes[self.rope_before_norm], self.layout)
        if head_norm is not None:
            qkv_TQ = ops.norm_heads(qkv_TQ, head_norm, self.layout)
        (kv,) = self.reads
        rope = step.ropes[self.rope]
        heads_TA = ops.attention(qkv_TQ, rope, kv, self.scoring, self.layout, self.sinks)
        if self.head_gate is not None:
            gates_TH = ops.linear(
                "head_gate", x_TD, self.head_gate, norm=norm, activation="sigmoid", rows=True
            )
            heads_TA = ops.scale_heads(heads_TA, gates_TH, self.layout)
        if self.gate_proj is not None:
            heads_TA = ops.linear(
                "gate", x_TD, self.gate_proj, norm=norm, activation="sigmoid", times=heads_TA
            )
        return ops.linear("o", heads_TA, self.o_proj, bias=self.o_bias, residual=residual, factor=self.factor)


class NormedAttention(Attention):
    """With RMSNorms of queries and keys before RoPE: of each head by itself (``rms``), with weights that all heads
    share, or of all heads together (``full_rms``). ``names`` are the checkpoint's; ``plus`` is added to the weights.
    ``values``: they have a norm without weights.
    """

    def __init__(
        self,
        config: DecoderConfig,
        w: WeightBuilder,
        layout: HeadLayout,
        prefix: str,
        *,
        kind: Literal["rms", "full_rms"] = "rms",
        names: tuple[str, str] = ("q_norm", "k_norm"),
        plus: float = 0.0,
        values: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(config, w, layout, prefix, **options)
        head = _turned(config.ropes[self.rope])
        each = (config.num_attention_heads, config.num_key_value_heads) if kind == "full_rms" else (1, 1)
        appends = self.layout.appends

        def norm(name: str, heads: int) -> Values:
            order = None if head is None else _of_heads(head, heads)
            return w.row({f"{prefix}.{name}.weight": (heads * config.head_dim,)}, order=order, plus=plus)

        self.q_norm = norm(names[0], each[0])
        self.k_norm = norm(names[1], each[1]) if appends else None
        self.kind, self.epsilon, self.values = kind, config.norm_eps, values and appends

    def head_norm(self) -> HeadNorm:
        return HeadNorm(self.q_norm, self.k_norm, self.epsilon, self.kind, self.values)


def qkv_order(config: DecoderConfig, rope: RopeSettings) -> Order | None:
    """Rows of queries, keys and values in the order that ``RopeSettings.head_order`` wants; None if it is theirs."""
    head = _turned(rope)
    if head is None:
        return None
    turned = config.num_attention_heads + config.num_key_value_heads
    values = np.arange(config.key_width) + turned * config.head_dim
    return np.concatenate([_of_heads(head, turned), values])


def _turned(rope: RopeSettings) -> Order | None:
    """A head's dimensions in the order that kernels want; None if it is theirs."""
    head = rope.head_order()
    return None if np.array_equal(head, np.arange(len(head))) else head


def _of_heads(head: Order, count: int) -> Order:
    """The same order in each of ``count`` heads."""
    return (np.arange(count)[:, None] * len(head) + head).reshape(-1)
