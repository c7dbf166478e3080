"""Llama 2, 3, 3.1, 3.2 and SmolLM2 (``LlamaForCausalLM``): pre-norm, RoPE, grouped-query attention, SwiGLU."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm.relax.frontend import nn
from tvm.relax.frontend.nn import Tensor

from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.kernels.cache import PAGE_SIZE, HeadLayout, kv_storage, rope_shapes, rope_tables
from mlcweb.kernels.linear import Norm
from mlcweb.kernels.ops import Decode, Prefill, Rope
from mlcweb.kernels.scores import Scores
from mlcweb.kernels.storage import Values, Vector, matrix
from mlcweb.kernels.tier import Tier
from mlcweb.models.rope import inverse_frequencies
from mlcweb.quantize import Param, Scheme


@dataclass(frozen=True)
class LlamaConfig:
    """The architecture's numbers, named as in config.json."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float
    rope_theta: float
    rope_scaling: dict[str, Any] | None
    max_position_embeddings: int
    tie_word_embeddings: bool

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> "LlamaConfig":
        """Read config.json. Raises CheckpointError for a missing or odd value, UnsupportedError for a variant."""
        try:
            heads = int(config["num_attention_heads"])
            hidden = int(config["hidden_size"])
            rope = config.get("rope_parameters") or {}  # where transformers 5 keeps theta and scaling
            result = cls(
                vocab_size=int(config["vocab_size"]),
                hidden_size=hidden,
                intermediate_size=int(config["intermediate_size"]),
                num_hidden_layers=int(config["num_hidden_layers"]),
                num_attention_heads=heads,
                num_key_value_heads=int(config.get("num_key_value_heads") or heads),
                head_dim=int(config.get("head_dim") or hidden // heads),
                rms_norm_eps=float(config["rms_norm_eps"]),
                rope_theta=float(config.get("rope_theta") or rope.get("rope_theta") or 10000.0),
                rope_scaling=config.get("rope_scaling") or rope or None,
                max_position_embeddings=int(config["max_position_embeddings"]),
                tie_word_embeddings=bool(config.get("tie_word_embeddings", False)),
            )
        except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
            raise CheckpointError(
                f"config.json lacks a usable {error}", hint="Is this a Llama checkpoint?"
            ) from None
        result._check(config)
        return result

    def _check(self, config: dict[str, Any]) -> None:
        for key in (
            "vocab_size",
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
            "head_dim",
            "rms_norm_eps",
            "rope_theta",
            "max_position_embeddings",
        ):
            if not getattr(self, key) > 0:
                raise CheckpointError(f"config.json: {key} is {getattr(self, key)}, which no model has")
        if config.get("hidden_act", "silu") != "silu":
            raise UnsupportedError(f"hidden_act {config['hidden_act']!r} is not supported; only silu")
        for key in ("attention_bias", "mlp_bias"):
            if config.get(key):
                raise UnsupportedError(f"config.json has {key} = true, which is not supported")
        for key, multiple in (("hidden_size", 4), ("intermediate_size", 4), ("head_dim", 16)):
            value = getattr(self, key)
            if value % multiple:
                raise UnsupportedError(f"{key} {value} is not supported: it must be a multiple of {multiple}")
        # also refuses a scaling that it does not know
        inverse_frequencies(self.head_dim, self.rope_theta, self.rope_scaling)
        if self.num_attention_heads % self.num_key_value_heads:
            raise CheckpointError(
                f"config.json: {self.num_attention_heads} attention heads do not divide into "
                f"{self.num_key_value_heads} key-value heads"
            )

    @property
    def parameters(self) -> int:
        """Weights of the model, a tied head counted once."""
        h, d = self.hidden_size, self.head_dim
        attention = h * d * (2 * self.num_attention_heads + 2 * self.num_key_value_heads)
        layer = attention + 3 * h * self.intermediate_size + 2 * h
        head = 0 if self.tie_word_embeddings else self.vocab_size * h
        return self.vocab_size * h + self.num_hidden_layers * layer + h + head

    def layout(self, context: int, storage: str) -> HeadLayout:
        """The KV cache for ``context`` tokens, of words of the dtype ``storage``."""
        pages = -(-context // PAGE_SIZE)
        return HeadLayout(self.num_attention_heads, self.num_key_value_heads, self.head_dim, pages, storage)

    def params(self) -> list[Param]:
        """The model's weights, and the checkpoint tensors each is made of."""
        h, d, i = self.hidden_size, self.head_dim, self.intermediate_size
        q, kv = self.num_attention_heads * d, self.num_key_value_heads * d
        out = [Param("model.embed_tokens", (self.vocab_size, h), ("model.embed_tokens.weight",), True)]
        for layer in range(self.num_hidden_layers):
            p = f"model.layers.{layer}"
            qkv = tuple(f"{p}.self_attn.{n}_proj.weight" for n in "qkv")
            gate_up = tuple(f"{p}.mlp.{n}_proj.weight" for n in ("gate", "up"))
            out += [
                Param(f"{p}.input_layernorm", (h,), (f"{p}.input_layernorm.weight",), False, blocks=True),
                Param(f"{p}.self_attn.qkv_proj", (q + 2 * kv, h), qkv, True),
                Param(f"{p}.self_attn.o_proj", (h, q), (f"{p}.self_attn.o_proj.weight",), True),
                Param(
                    f"{p}.post_attention_layernorm",
                    (h,),
                    (f"{p}.post_attention_layernorm.weight",),
                    False,
                    blocks=True,
                ),
                Param(f"{p}.mlp.gate_up_proj", (2 * i, h), gate_up, True),
                Param(f"{p}.mlp.down_proj", (h, i), (f"{p}.mlp.down_proj.weight",), True),
            ]
        out.append(Param("model.norm", (h,), ("model.norm.weight",), False, blocks=True))
        if not self.tie_word_embeddings:
            out.append(Param("lm_head", (self.vocab_size, h), ("lm_head.weight",), True))
        return out

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The checkpoint tensors that ``params`` needs, with their shapes."""
        d = self.head_dim
        rows = {"q_proj": self.num_attention_heads * d, "k_proj": self.num_key_value_heads * d}
        rows |= {"v_proj": rows["k_proj"], "gate_proj": self.intermediate_size}
        rows["up_proj"] = self.intermediate_size
        shapes = {}
        for param in self.params():
            for source in param.sources:
                name = source.split(".")[-2]
                shapes[source] = (rows.get(name, param.shape[0]), *param.shape[1:])
        return shapes

    def constants(self, context: int) -> dict[str, npt.NDArray[np.float32]]:
        """Tensors of the bundle that no checkpoint has: RoPE's tables."""
        frequencies = inverse_frequencies(self.head_dim, self.rope_theta, self.rope_scaling)
        coarse, fine = rope_tables(frequencies, context)
        return {"rope.coarse.weight": coarse, "rope.fine.weight": fine}


class LlamaAttention(nn.Module):
    def __init__(self, config: LlamaConfig, scheme: Scheme, tier: Tier, layout: HeadLayout) -> None:
        width = layout.heads * layout.head_dim
        rows = width + 2 * layout.kv_heads * layout.head_dim
        self.qkv_proj = matrix(rows, config.hidden_size, scheme, tier)
        self.o_proj = matrix(config.hidden_size, width, scheme, tier)
        self.kv = nn.Parameter(layout.page_shape, dtype=layout.storage)


class LlamaMLP(nn.Module):
    def __init__(self, config: LlamaConfig, scheme: Scheme, tier: Tier) -> None:
        self.gate_up_proj = matrix(2 * config.intermediate_size, config.hidden_size, scheme, tier)
        self.down_proj = matrix(config.hidden_size, config.intermediate_size, scheme, tier)


class LlamaLayer(nn.Module):
    def __init__(self, config: LlamaConfig, scheme: Scheme, tier: Tier, layout: HeadLayout) -> None:
        self.input_layernorm = Vector(config.hidden_size, scheme.activation, tier)
        self.self_attn = LlamaAttention(config, scheme, tier, layout)
        self.post_attention_layernorm = Vector(config.hidden_size, scheme.activation, tier)
        self.mlp = LlamaMLP(config, scheme, tier)
        self.epsilon = config.rms_norm_eps
        self.scores = Scores(config.head_dim**-0.5)

    def forward(
        self, ops: Decode | Prefill, x_TD: Tensor, rope: Rope, state: Tensor, table: Tensor
    ) -> Tensor:
        attn, mlp = self.self_attn, self.mlp
        qkv_TE = ops.norm_linear("qkv", x_TD, Norm(self.input_layernorm, self.epsilon), attn.qkv_proj)
        heads_TE = ops.attention(qkv_TE, rope, state, table, attn.kv, self.scores)
        x_TD = ops.add_linear("o", heads_TE, attn.o_proj, x_TD)
        norm = Norm(self.post_attention_layernorm, self.epsilon)
        hidden_TI = ops.norm_linear("gate_up", x_TD, norm, mlp.gate_up_proj, swiglu=True)
        return ops.add_linear("down", hidden_TI, mlp.down_proj, x_TD)


class LlamaBody(nn.Module):
    def __init__(self, config: LlamaConfig, scheme: Scheme, tier: Tier, layout: HeadLayout) -> None:
        self.embed_tokens = matrix(config.vocab_size, config.hidden_size, scheme, tier)
        self.layers = nn.ModuleList(
            [LlamaLayer(config, scheme, tier, layout) for _ in range(config.num_hidden_layers)]
        )
        self.norm = Vector(config.hidden_size, scheme.activation, tier)


class RopeTables(nn.Module):
    def __init__(self, head_dim: int, context: int, tier: Tier) -> None:
        coarse, fine = rope_shapes(head_dim, context)
        self.coarse, self.fine = Values(coarse, "float32", tier), Values(fine, "float32", tier)


class Llama(nn.Module):
    """The model for one tier; ``forward`` serves decode and prefill alike.

    ``kv_dtype`` is the type of the KV cache's elements, float16 or float32; None takes the tier's.
    """

    def __init__(
        self, config: LlamaConfig, scheme: Scheme, tier: Tier, context: int, kv_dtype: str | None = None
    ) -> None:
        self.layout = config.layout(context, kv_storage(kv_dtype or tier.kv_dtype, tier))
        self.model = LlamaBody(config, scheme, tier, self.layout)
        self.rope = RopeTables(config.head_dim, context, tier)
        if not config.tie_word_embeddings:
            self.lm_head = matrix(config.vocab_size, config.hidden_size, scheme, tier)
        self.tied, self.epsilon = config.tie_word_embeddings, config.rms_norm_eps

    def forward(self, ops: Decode | Prefill, ids: Tensor, state: Tensor, page_table: Tensor) -> Tensor:
        """Logits ``[1, V]`` of the last token."""
        body = self.model
        rope = Rope(self.rope.coarse, self.rope.fine)
        x_TD = ops.embed(body.embed_tokens, ids)
        for layer in body.layers:
            x_TD = layer(ops, x_TD, rope, state, page_table)
        head = body.embed_tokens if self.tied else self.lm_head
        return ops.head(x_TD, Norm(body.norm, self.epsilon), head)
