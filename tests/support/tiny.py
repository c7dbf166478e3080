"""Makes small Llama checkpoints in Hugging Face's layout, from a seed; equal arguments give equal bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

from bench.synthetic.tokenizer import write_tokenizer

_DTYPES: dict[str, Any] = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16, "float32": np.float32}


@dataclass(frozen=True)
class TinyLlama:
    """Sizes of a made-up Llama; the defaults make about 90,000 weights in a few milliseconds."""

    hidden: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    intermediate: int = 96
    vocab: int = 320  # at least 273: 256 bytes, 14 merges and 3 special tokens
    tied: bool = True
    rope_scaling: dict[str, Any] | None = None
    rope_theta: float = 10000.0
    context: int = 512
    dtype: str = "bfloat16"  # of the weights on disk: bfloat16, float16 or float32
    shards: int = 1
    seed: int = 0
    config: dict[str, Any] = field(default_factory=dict)  # further config.json keys, or other values

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Tensor names and shapes, in the order that the weights are drawn in."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (self.vocab, self.hidden)}
        for i in range(self.layers):
            layer = f"model.layers.{i}."
            shapes |= {
                layer + "input_layernorm.weight": (self.hidden,),
                layer + "self_attn.q_proj.weight": (q, self.hidden),
                layer + "self_attn.k_proj.weight": (kv, self.hidden),
                layer + "self_attn.v_proj.weight": (kv, self.hidden),
                layer + "self_attn.o_proj.weight": (self.hidden, q),
                layer + "post_attention_layernorm.weight": (self.hidden,),
                layer + "mlp.gate_proj.weight": (self.intermediate, self.hidden),
                layer + "mlp.up_proj.weight": (self.intermediate, self.hidden),
                layer + "mlp.down_proj.weight": (self.hidden, self.intermediate),
            }
        shapes["model.norm.weight"] = (self.hidden,)
        if not self.tied:
            shapes["lm_head.weight"] = (self.vocab, self.hidden)
        return shapes

    def weights(self) -> dict[str, np.ndarray]:
        """The weights in the dtype they have on disk: scaled by fan-in, norms near 1."""
        rng = np.random.default_rng(self.seed)
        weights = {}
        for name, shape in self.shapes().items():
            values = rng.standard_normal(shape, np.float32)
            values = 1 + values / 8 if len(shape) == 1 else values / np.float32(shape[1]) ** 0.5
            weights[name] = values.astype(_DTYPES[self.dtype])
        return weights

    def hf_config(self) -> dict[str, Any]:
        """config.json of a LlamaForCausalLM."""
        config: dict[str, Any] = {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.context,
            "rms_norm_eps": 1e-5,
            "rope_theta": self.rope_theta,
            "rope_scaling": self.rope_scaling,
            "tie_word_embeddings": self.tied,
            "vocab_size": self.vocab,
            "attention_bias": False,
            "mlp_bias": False,
            "torch_dtype": self.dtype,
            "bos_token_id": 1,
            "eos_token_id": 2,
        }
        return config | self.config


def make_llama(folder: Path, model: TinyLlama | None = None) -> Path:
    """Write the model into ``folder`` (made if need be) and return it."""
    model = model or TinyLlama()
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "config.json", model.hf_config())
    _write_json(folder / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2, "do_sample": False})
    write_tokenizer(folder)
    weights = model.weights()
    if model.shards == 1:
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        return folder
    names = list(weights)
    weight_map = {}
    for i in range(model.shards):
        shard = f"model-{i + 1:05}-of-{model.shards:05}.safetensors"
        part = names[i * len(names) // model.shards : (i + 1) * len(names) // model.shards]
        save_file({name: weights[name] for name in part}, folder / shard, {"format": "pt"})
        weight_map |= dict.fromkeys(part, shard)
    size = sum(array.nbytes for array in weights.values())
    _write_json(
        folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": weight_map}
    )
    return folder


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False), encoding="utf-8")
