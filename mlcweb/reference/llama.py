"""Llama in numpy: RMSNorm, rotary GQA attention with a KV cache, SwiGLU; one token or many at a time.

Parameters, as the compiler packs them: ``model.embed_tokens``; for each layer ``input_layernorm``,
``self_attn.qkv_proj`` (q, k, v stacked), ``self_attn.o_proj``, ``post_attention_layernorm``,
``mlp.gate_up_proj`` (gate, up stacked), ``mlp.down_proj``; ``model.norm``; ``lm_head`` unless tied to the
embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mlcweb.reference.config import LlamaConfig
from mlcweb.reference.linear import Linear
from mlcweb.reference.rope import inverse_frequencies, rotate
from mlcweb.reference.weights import ReferenceWeights

F32 = npt.NDArray[np.float32]

# Prompt tokens run together: bounds the score matrix, and spreads a weight's dequantization over this many.
CHUNK = 256


class LlamaReference:
    """A Llama and its KV cache of ``capacity`` tokens, float32 throughout."""

    def __init__(
        self, weights: ReferenceWeights, config: LlamaConfig, capacity: int, threads: int | None = None
    ) -> None:
        """``threads`` is how many share a matrix product; all cores without it."""
        self._weights = weights
        self._config = config
        self._linear = Linear(weights, threads)
        self._frequencies = inverse_frequencies(config.head_dim, config.rope)
        shape = (config.layers, config.kv_heads, capacity, config.head_dim)
        self._keys = np.zeros(shape, np.float32)
        self._values = np.zeros(shape, np.float32)
        self.position = 0

    def feed(self, tokens: Sequence[int]) -> F32:
        """Append tokens to the context; returns the logits after the last, float32 [vocab].

        Raises ValueError for no tokens, ids outside the vocabulary or more than the capacity.
        """
        capacity = self._keys.shape[2]
        if not tokens or self.position + len(tokens) > capacity:
            raise ValueError(f"{len(tokens)} tokens at position {self.position} of {capacity}")
        if not all(0 <= token < self._config.vocab for token in tokens):
            raise ValueError(f"a token id outside the vocabulary of {self._config.vocab}")
        for start in range(0, len(tokens), CHUNK):
            x_TE = self._layers(tokens[start : start + CHUNK])
        last_1E = self._norm(x_TE[-1:], "model.norm")
        head = "model.embed_tokens" if self._config.tied else "lm_head"
        logits: F32 = self._linear(last_1E, head)[0]
        return logits

    def _layers(self, tokens: Sequence[int]) -> F32:
        positions = np.arange(self.position, self.position + len(tokens))
        embeddings = [self._weights.rows("model.embed_tokens", token, token + 1)[0] for token in tokens]
        x_TE: F32 = np.stack(embeddings)[:, : self._config.hidden]
        for i in range(self._config.layers):
            layer = f"model.layers.{i}."
            x_TE = x_TE + self._attention(self._norm(x_TE, layer + "input_layernorm"), positions, i)
            x_TE = x_TE + self._mlp(self._norm(x_TE, layer + "post_attention_layernorm"), layer + "mlp.")
        self.position += len(tokens)
        return x_TE

    def _norm(self, x_TE: F32, name: str) -> F32:
        weight_E = self._weights.rows(name, 0, self._config.hidden)
        mean_square = np.mean(np.square(x_TE), axis=-1, keepdims=True)
        normed: F32 = x_TE / np.sqrt(mean_square + np.float32(self._config.norm_eps)) * weight_E
        return normed

    def _attention(self, x_TE: F32, positions: npt.NDArray[np.int64], i: int) -> F32:
        heads, kv_heads, dim = self._config.heads, self._config.kv_heads, self._config.head_dim
        count, end = len(positions), int(positions[-1]) + 1
        qkv = self._linear(x_TE, f"model.layers.{i}.self_attn.qkv_proj").reshape(count, -1, dim)
        q_THD, k_TKD, v_TKD = np.split(qkv, [heads, heads + kv_heads], axis=1)
        self._keys[i, :, positions[0] : end] = rotate(k_TKD, positions, self._frequencies).swapaxes(0, 1)
        self._values[i, :, positions[0] : end] = v_TKD.swapaxes(0, 1)

        q_KGTD = rotate(q_THD, positions, self._frequencies).reshape(count, kv_heads, -1, dim)
        q_KGTD = q_KGTD.transpose(1, 2, 0, 3) * np.float32(dim**-0.5)
        hidden_TS = np.arange(end) > positions[:, None]
        out_KGTD = np.empty_like(q_KGTD)
        for head in range(kv_heads):  # one KV head at a time bounds the scores' memory
            scores_GTS = q_KGTD[head] @ self._keys[i, head, :end].T
            scores_GTS[:, hidden_TS] = -np.inf
            scores_GTS -= scores_GTS.max(axis=-1, keepdims=True)
            np.exp(scores_GTS, out=scores_GTS)
            scores_GTS /= scores_GTS.sum(axis=-1, keepdims=True)
            out_KGTD[head] = scores_GTS @ self._values[i, head, :end]
        out_TE = out_KGTD.transpose(2, 0, 1, 3).reshape(count, heads * dim)
        return self._linear(out_TE, f"model.layers.{i}.self_attn.o_proj")

    def _mlp(self, x_TE: F32, prefix: str) -> F32:
        gate_TF, up_TF = np.split(self._linear(x_TE, prefix + "gate_up_proj"), 2, axis=1)
        # silu(x) = x * sigmoid(x); tanh does not overflow where exp(-x) would.
        silu_TF = gate_TF * (np.float32(0.5) * (1 + np.tanh(np.float32(0.5) * gate_TF)))
        return self._linear(silu_TF * up_TF, prefix + "down_proj")
