"""Has the operations of ``kernels.ops`` in numpy: a model's ``forward`` runs on the host as it is lowered for a GPU.

What is x ``[T, …]`` there is a float32 array here, of as many tokens as are fed. Weights are looked up by the name
that the model declares them under.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from tvm.relax.frontend.nn import Tensor

from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.experts.mixture import Mixture
from mlcweb.kernels.experts.weights import Experts
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.layouts.pieces import Matrix, SplitGateUp, pieces
from mlcweb.kernels.layouts.storage import Values, Vector, WholeMatrix
from mlcweb.kernels.norms.head_norm import HeadNorm
from mlcweb.kernels.ops import Rope
from mlcweb.kernels.products.matvec import Norm
from mlcweb.kernels.products.outputs import Activation
from mlcweb.kernels.recurrent.causal_conv import CausalConv
from mlcweb.kernels.recurrent.gated_delta import GatedDelta
from mlcweb.models import Decoder
from mlcweb.models.parts.weights import declared
from mlcweb.reference.arithmetic import activate, gated, normalize, rotate, round_int8, unit
from mlcweb.reference.linear import Linear
from mlcweb.reference.weights import ReferenceWeights

F32 = npt.NDArray[np.float32]


class HostOps:
    """For one model and a KV cache of ``capacity`` tokens; ``tokens`` are fed, the first of them at ``position``.

    ``images`` float32 ``[T, D]``: what is in the places of tokens below 0, which stand for rows of pictures, with what
    is added after layers beside it. ``axes`` ``[T, …]``: where the tokens are along each of RoPE's axes, if any.
    ``windows`` ``[T]``: which window of its picture each patch is in.
    ``int8``: products take activations rounded as ``kernels.products.rows`` rounds them; ``int8_head``: the head's
    too. ``every``: ``head`` gives the logits of all tokens, not the last one's.
    """

    def __init__(
        self,
        model: Decoder,
        weights: ReferenceWeights,
        capacity: int,
        context: int,
        threads: int | None,
    ) -> None:
        self.int8 = self.int8_head = self.every = False
        self._weights = weights
        self._names = {id(weight): name for name, weight in declared(model)}
        self._linear = Linear(weights, threads)
        self._together = model.images is not None and model.images.together
        self._capacity, self.position = capacity, 0
        self.tokens: Sequence[int] = ()
        self.images: F32 | None = None
        self.axes: npt.NDArray[np.int64] | None = None
        self.windows: npt.NDArray[np.int64] | None = None
        self._kv_cache: dict[int, tuple[F32, F32]] = {}
        self._recurrent: dict[int, F32] = {}
        self._pair_frequencies = {
            id(table.coarse): settings.pair_frequencies(context) for table, settings in model.turning()
        }

    def embed(
        self,
        table: Matrix,
        *,
        name: str = "embed",
        scale: float = 1.0,
        positions: WholeMatrix | None = None,
        rows: bool = False,
        images: bool = False,
    ) -> F32:
        """x ``[T, D]`` of the tokens."""
        x_TD: F32 = np.stack([self._row(table, max(token, 0)) for token in self.tokens])[:, : table.columns]
        x_TD = x_TD * np.float32(scale)
        if images and self.images is not None:
            x_TD = np.where(np.array(self.tokens)[:, None] < 0, self.images[:, : table.columns], x_TD)
        if positions is None:
            return x_TD
        end = self.position + len(self.tokens)
        return x_TD + self._weights.rows(self._names[id(positions)], self.position, end)

    def add_images(self, x: F32, part: int) -> F32:
        """x, plus the ``part``-th of the rows behind those of pictures."""
        if self.images is None:
            return x
        columns = slice(part * x.shape[1], (part + 1) * x.shape[1])
        added = np.where(np.array(self.tokens)[:, None] < 0, self.images[:, columns], np.float32(0))
        return x + added

    def linear(
        self,
        name: str,
        x: F32,
        weight: Matrix | SplitGateUp,
        *,
        norm: Norm | None = None,
        bias: Values | None = None,
        activation: Activation | None = None,
        gated: bool = False,
        residual: F32 | None = None,
        times: F32 | None = None,
        factor: float = 1.0,
        rows: bool = False,
    ) -> F32:
        """``residual + factor * activation(linear(norm(x)) + bias)``, times the up half if ``gated``."""
        x = self.norm(x, norm) if norm else x
        y = self._product(round_int8(x) if self.int8 and (self.int8_head or name != "head") else x, weight)
        if bias is not None:
            y = y + self._vector(bias)
        gate, up = np.split(y, 2, axis=1) if gated else (y, None)
        if activation is not None:
            gate = activate(activation, gate)
        y = gate if up is None else gate * up
        y = y if factor == 1.0 else y * np.float32(factor)
        if times is not None:
            y = times * y
        return y if residual is None else residual + y

    def norm(self, x: F32, norm: Norm, *, residual: F32 | None = None, scale: Values | None = None) -> F32:
        """``norm(x)``, or ``residual + norm(x)``; times ``scale``, if there is one."""
        y = normalize(x, norm.epsilon, norm.centered) * self._vector(norm.weight)
        if norm.bias is not None:
            y = y + self._vector(norm.bias)
        y = y if residual is None else residual + y
        return y if scale is None else y * self._vector(scale)

    def rotate_heads(self, qkv: F32, rope: Rope, layout: HeadLayout) -> F32:
        """Queries and keys turned, values as they are."""
        heads, width = qkv.reshape(len(qkv), -1, layout.head_dim), layout.heads + layout.kv_heads
        turned = rotate(heads[:, :width], self._positions(rope, len(qkv)), self._frequencies(rope))
        return np.concatenate([turned, heads[:, width:]], axis=1).reshape(qkv.shape)

    def scale_heads(self, x: F32, scales: F32, layout: HeadLayout) -> F32:
        """Each head's outputs times its number."""
        return (x.reshape(len(x), layout.heads, -1) * scales[:, :, None]).reshape(x.shape)

    def norm_heads(self, qkv: F32, norm: HeadNorm, layout: HeadLayout) -> F32:
        """Queries and keys normalized, and values as the norm says."""
        parts = []
        widths = np.cumsum([layout.heads * layout.head_dim, layout.kv_heads * layout.head_dim])
        queries, keys, values = np.split(qkv, widths, axis=1)
        if norm.values:
            heads = values.reshape(len(values), -1, layout.head_dim)
            values = normalize(heads, norm.epsilon, False).reshape(values.shape)
        for part, weight in ((queries, norm.q_weight), (keys, norm.k_weight)):
            if weight is None:
                continue
            width = part.shape[1] if norm.kind == "full_rms" else layout.head_dim
            heads = part.reshape(len(part), -1, width)
            scale = self._vector(weight).reshape(-1, width)
            normed = normalize(heads, norm.epsilon, norm.kind == "layer") * scale
            parts.append(normed.reshape(part.shape))
        return np.concatenate([*parts, values], axis=1)

    def moe(self, x: F32, norm: Norm, mixture: Mixture, *, residual: F32) -> F32:
        """``residual + mixture(norm(x))``: the first of equal logits is the larger, as on the GPU."""
        total: F32 = residual.copy()
        x = self.norm(x, norm)
        logits = self._linear(x, self._names[id(mixture.router)])
        if mixture.router_bias is not None:
            logits = logits + self._vector(mixture.router_bias)
        ids = np.argsort(-logits, axis=1, kind="stable")[:, : mixture.experts_per_token]
        top = np.take_along_axis(logits, ids, 1)
        shares = np.exp(top - top[:, :1])
        among = shares if mixture.normalized else np.exp(logits - top[:, :1])
        shares /= among.sum(axis=1, keepdims=True)
        x = round_int8(x) if self.int8 else x
        for expert in np.unique(ids):
            tokens, choice = np.nonzero(ids == expert)
            both = self._expert(x[tokens], mixture.gate_up, expert, mixture.gate_up_bias)
            hidden = gated(mixture.activation, *np.split(both, 2, axis=1))
            y = self._expert(hidden, mixture.down, expert, mixture.down_bias)
            total[tokens] += shares[tokens, choice, None] * y
        return total

    def _expert(self, x: F32, experts: Experts, expert: int, bias: Values | None = None) -> F32:
        """x times an expert's matrix, plus its row of the bias."""
        stack = next(i for i, numbers in enumerate(experts.ranges) if expert in numbers)
        first = (expert - experts.ranges[stack].start) * experts.rows
        y = self._linear(x, self._names[id(experts[stack])], range(first, first + experts.rows))
        if bias is None:
            return y
        at = expert * bias.columns
        return y + self._weights.rows(self._names[id(bias)], at, at + bias.columns)

    def attention(
        self,
        qkv: F32,
        rope: Rope,
        kv: Tensor,
        scoring: Scoring,
        layout: HeadLayout,
        sinks: Values | None = None,
    ) -> F32:
        """``[T, H * P]``; appends the tokens' keys and values to the KV cache, if the layer has its own."""
        count = len(qkv)
        heads, kv_heads, dim = layout.heads, layout.kv_heads, layout.head_dim
        positions = np.arange(self.position, self.position + count)
        end = self.position + count
        q_THP, k_TJP, v_TJP = np.split(qkv.reshape(count, -1, dim), [heads, heads + kv_heads], axis=1)
        pair_frequencies, places = self._frequencies(rope), self._positions(rope, count)
        shape = (kv_heads, self._capacity, dim)
        keys, values = self._kv_cache.setdefault(
            id(kv), (np.zeros(shape, np.float32), np.zeros(shape, np.float32))
        )
        if layout.appends:
            keys[:, self.position : end] = rotate(k_TJP, places, pair_frequencies).swapaxes(0, 1)
            values[:, self.position : end] = v_TJP.swapaxes(0, 1)

        q_JGTP = rotate(q_THP, places, pair_frequencies).reshape(count, kv_heads, -1, dim)
        q_JGTP = q_JGTP.transpose(1, 2, 0, 3) * np.float32(scoring.scale)
        if (growth := scoring.growth) is not None:
            factors = 1 + growth.beta * np.log(1 + positions // growth.length)
            q_JGTP = q_JGTP * factors[:, None].astype(np.float32)
        tokens = np.arange(end)
        distance_TS = positions[:, None] - tokens  # to a token before; below 0, it is ahead
        hidden_TS = (
            np.zeros_like(distance_TS, bool) if scoring.ahead else tokens >= self._ends(positions)[:, None]
        )
        if scoring.window is not None:
            hidden_TS |= (np.abs(distance_TS) if scoring.ahead else distance_TS) >= scoring.window
        if scoring.windows and self.windows is not None:
            hidden_TS |= self.windows[:, None] != self.windows
        out_JGTP = np.empty_like(q_JGTP)
        for head in range(kv_heads):  # one KV head at a time bounds the scores' memory
            s_GTS = q_JGTP[head] @ keys[head, :end].T
            if scoring.cap is not None:
                s_GTS = np.float32(scoring.cap) * np.tanh(s_GTS / np.float32(scoring.cap))
            s_GTS[:, hidden_TS] = -np.inf
            top_GT1, sink_G11 = s_GTS.max(axis=-1, keepdims=True), None
            if sinks is not None:
                sink_G11 = self._vector(sinks).reshape(kv_heads, -1, 1, 1)[head]
                top_GT1 = np.maximum(top_GT1, sink_G11)
            s_GTS -= top_GT1
            np.exp(s_GTS, out=s_GTS)
            total_GT1 = s_GTS.sum(axis=-1, keepdims=True)
            s_GTS /= total_GT1 if sink_G11 is None else total_GT1 + np.exp(sink_G11 - top_GT1)
            out_JGTP[head] = s_GTS @ values[head, :end]
        joined: F32 = out_JGTP.transpose(2, 0, 1, 3).reshape(count, heads * dim)
        return joined

    def _ends(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Up to which place each token sees: its own, or, where a picture's see one another, that of its last."""
        ends = positions + 1
        if self._together:
            for i in range(len(ends) - 2, -1, -1):
                if self.tokens[i] < 0 and self.tokens[i + 1] < 0:
                    ends[i] = ends[i + 1]
        return ends

    def add_scaled(self, x: F32, scales: F32, residual: F32) -> F32:
        """``residual + scales[:, :1] * x``."""
        return residual + scales[:, :1] * x

    def norm_spans(self, x: F32, weight: Values, epsilon: float) -> F32:
        """RMSNorm of each span of x that is as wide as ``weight``."""
        spans = x.reshape(len(x), -1, weight.columns)
        normed = normalize(spans, epsilon, False) * self._vector(weight)
        return normed.reshape(x.shape)

    def add_norm_of_span(
        self, x: F32, weight: Values, epsilon: float, other: F32, *, span: int, factor: float
    ) -> F32:
        """``other + factor * norm(x)`` of a span ``[T, W]``."""
        columns = slice(span * weight.columns, (span + 1) * weight.columns)
        normed = normalize(x[:, columns], epsilon, False) * self._vector(weight)
        sums: F32 = other[:, columns] + np.float32(factor) * normed
        return sums

    def gated_delta(self, qkv: F32, ba: F32, delta: GatedDelta, recurrent: Tensor) -> F32:
        """The rule, a token at a time."""
        count, heads, keys = len(qkv), delta.heads, delta.key_width
        cuts = [delta.key_heads * keys, 2 * delta.key_heads * keys]
        q_T, k_T, v_T = (part.reshape(count, -1, w) for part, w in zip(
            np.split(qkv, cuts, axis=1), (keys, keys, delta.value_width), strict=True))  # fmt: skip
        q_T, k_T = (np.repeat(unit(x), heads // delta.key_heads, axis=1) for x in (q_T, k_T))
        q_T = q_T * np.float32(keys**-0.5)
        b_TH = activate("sigmoid", ba[:, :heads])
        gate_TH = np.logaddexp(np.float32(0), ba[:, heads:] + self._vector(delta.shift))
        decay_TH = np.exp(-np.exp(self._vector(delta.rate)) * gate_TH)
        state_HKV = np.zeros((heads, keys, delta.value_width), np.float32)
        if self.position:
            state_HKV = self._recurrent[id(recurrent)]
        out = np.empty((count, heads, delta.value_width), np.float32)
        for t in range(count):
            state_HKV = state_HKV * decay_TH[t][:, None, None]
            seen_HV = np.einsum("hkv,hk->hv", state_HKV, k_T[t])
            correction = (v_T[t] - seen_HV) * b_TH[t][:, None]
            state_HKV = state_HKV + k_T[t][:, :, None] * correction[:, None, :]
            out[t] = np.einsum("hkv,hk->hv", state_HKV, q_T[t])
        self._recurrent[id(recurrent)] = state_HKV
        return out.reshape(count, -1)

    def causal_conv(self, x: F32, conv: CausalConv, recurrent: Tensor) -> F32:
        """The convolution of x with the inputs before, which are kept."""
        taps_KD = self._weights.rows(self._names[id(conv.taps)], 0, conv.taps.rows)
        b, c, v = np.split(x, 3, axis=1) if conv.gated else (None, None, x)
        inputs = v if b is None else b * v
        before = np.zeros((conv.kept, conv.width), np.float32)
        if self.position:
            before = self._recurrent[id(recurrent)]
        all_TD = np.concatenate([before, inputs])
        self._recurrent[id(recurrent)] = all_TD[len(x) :]
        y = np.zeros_like(inputs) if conv.bias is None else np.tile(self._vector(conv.bias), (len(x), 1))
        for tap in range(conv.taps.rows):
            y = y + all_TD[tap : tap + len(x)] * taps_KD[tap]
        y = y if conv.activation is None else activate(conv.activation, y)
        return y if c is None else c * y

    def head(
        self,
        x: F32,
        norm: Norm,
        weight: Matrix,
        *,
        bias: Values | None = None,
        cap: float | None = None,
        factor: float = 1.0,
    ) -> F32:
        """Logits ``[1, V]`` of the last token, or ``[T, V]``."""
        logits = self.linear("head", x if self.every else x[-1:], weight, norm=norm, bias=bias)
        if cap is not None:
            logits = np.float32(cap) * np.tanh(logits / np.float32(cap))
        return logits if factor == 1.0 else logits * np.float32(factor)

    def _frequencies(self, rope: Rope) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Of each pair of a head's dimensions, and the scale of both; one stands for all where nothing turns."""
        return self._pair_frequencies[id(rope.coarse)] if rope.turns else (np.zeros(1), np.ones(1))

    def _positions(self, rope: Rope, count: int) -> npt.NDArray[np.int64]:
        """By which each of a head's pairs turns, ``[T, P / 2]``, or ``[T, 1]`` where all are the same."""
        if rope.sections is None or self.axes is None:
            return np.arange(self.position, self.position + count)[:, None]
        pairs = len(self._frequencies(rope)[0])
        return self.axes[:, rope.sections.axes(pairs)]

    def _row(self, table: Matrix, token: int) -> F32:
        """A row of an embedding, with the padding of its last group."""
        for matrix, piece in pieces(table):
            row = token - (piece.first if piece else 0)
            if 0 <= row < matrix.rows:
                values: F32 = self._weights.rows(self._names[id(matrix)], row, row + 1)[0]
                return values
        raise ValueError(f"token {token} of {table.rows}")

    def _product(self, x: F32, weight: Matrix | SplitGateUp) -> F32:
        """x ``[T, K]`` times a matrix, ``[T, N]``; of gate over up, the gates of all pieces come first."""
        if isinstance(weight, SplitGateUp):
            return np.concatenate([self._product(x, weight.gate), self._product(x, weight.up)], axis=1)
        products = [self._linear(x, self._names[id(matrix)]) for matrix, _ in pieces(weight)]
        if len(products) == 1 or not weight.paired:
            return np.concatenate(products, axis=1)
        gates_and_ups = [np.split(product, 2, axis=1) for product in products]
        joined: F32 = np.concatenate([both[i] for i in (0, 1) for both in gates_and_ups], axis=1)
        return joined

    def _vector(self, weight: Values | Vector) -> F32:
        return self._weights.rows(self._names[id(weight)], 0, weight.columns)
