"""GGUF's ``llama`` architecture as Hugging Face has it: config keys, tensor names, and the order of q and k
rows.

Key names: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md ; the row order and the rope factors
are what llama.cpp's convert_hf_to_gguf.py does, undone.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.sources.checkpoint import LazyTensor
from mlcweb.sources.gguf_file import GgufFile, GgufTensor
from mlcweb.sources.gguf_rope import infer_rope_scaling

_GLOBAL_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_LAYER_TENSOR = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")
_ROPE_FACTORS = "rope_freqs.weight"


def build_config(file: GgufFile) -> dict[str, Any]:
    """config.json of a Hugging Face LlamaForCausalLM with the file's sizes.

    Raises CheckpointError if a required key is missing, UnsupportedError for experts, partial rotary
    embeddings or a rope scaling that the config cannot express.
    """
    meta, tensors = file.metadata, file.tensors
    if meta.get("llama.expert_count"):
        raise UnsupportedError(f"{file.path}: is a mixture of experts, which mlcweb does not compile")
    hidden = file.require("llama.embedding_length", int)
    heads = file.require("llama.attention.head_count", int)
    head_dim = meta.get("llama.attention.key_length") or hidden // heads
    if meta.get("llama.rope.dimension_count", head_dim) != head_dim:
        raise UnsupportedError(f"{file.path}: rotates only part of each head")
    if "token_embd.weight" not in tensors:
        raise CheckpointError(f"{file.path}: has no token_embd.weight")
    theta = float(meta.get("llama.rope.freq_base", 10000.0))
    config: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": file.require("llama.feed_forward_length", int),
        "num_hidden_layers": file.require("llama.block_count", int),
        "num_attention_heads": heads,
        "num_key_value_heads": meta.get("llama.attention.head_count_kv", heads),
        "head_dim": head_dim,
        "max_position_embeddings": file.require("llama.context_length", int),
        "rms_norm_eps": _drop_float32_noise(file.require("llama.attention.layer_norm_rms_epsilon", float)),
        "rope_theta": theta,
        "rope_scaling": _rope_scaling(file, head_dim, theta),
        "tie_word_embeddings": "output.weight" not in tensors,
        # The embedding says how many rows there are; llama.vocab_size is optional and may leave out padding.
        "vocab_size": tensors["token_embd.weight"].shape[0],
        "attention_bias": "blk.0.attn_q.bias" in tensors,
        "mlp_bias": "blk.0.ffn_up.bias" in tensors,
    }
    for key, gguf_key in (("bos_token_id", "bos_token_id"), ("pad_token_id", "padding_token_id")):
        if f"tokenizer.ggml.{gguf_key}" in meta:
            config[key] = meta[f"tokenizer.ggml.{gguf_key}"]
    return config


def build_tensors(file: GgufFile, config: dict[str, Any]) -> dict[str, LazyTensor]:
    """The file's tensors under Hugging Face names, q and k in Hugging Face's row order.

    A tensor whose name means nothing to the llama architecture keeps its GGUF name, so that ``require``
    reports it.
    """
    tensors = {}
    for name, tensor in file.tensors.items():
        if name == _ROPE_FACTORS:
            continue
        lazy = LazyTensor(_hf_name(name), tensor.shape, tensor.dtype, tensor.load_rows)
        heads = {".attn_q.": "num_attention_heads", ".attn_k.": "num_key_value_heads"}
        for part, key in heads.items():
            if part in name:
                if tensor.shape[0] % (2 * config[key]):
                    raise CheckpointError(
                        f"{file.path}: {name} has {tensor.shape[0]} rows, {config[key]} heads"
                    )
                lazy = replace(
                    lazy, load_rows=partial(_load_unpermuted, tensor, tensor.shape[0] // config[key])
                )
        tensors[lazy.name] = lazy
    return tensors


def _hf_name(name: str) -> str:
    match = _LAYER_TENSOR.fullmatch(name)
    if match and match[2] in _LAYER_NAMES:
        return f"model.layers.{match[1]}.{_LAYER_NAMES[match[2]]}.{match[3]}"
    return _GLOBAL_NAMES.get(name, name)


def _load_unpermuted(tensor: GgufTensor, head_dim: int, start: int, stop: int) -> npt.NDArray[Any]:
    """Rows in Hugging Face's order: GGUF interleaves the halves of each head that rope rotates together."""
    first = start // head_dim * head_dim
    last = -(-stop // head_dim) * head_dim
    rows = tensor.load_rows(first, last)
    pairs = rows.reshape(-1, head_dim // 2, 2, *rows.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(rows.shape)[start - first : stop - first])


def _rope_scaling(file: GgufFile, head_dim: int, theta: float) -> dict[str, Any] | None:
    kind = file.metadata.get("llama.rope.scaling.type", "none")
    if kind == "linear":
        return {
            "rope_type": "linear",
            "factor": float(file.require("llama.rope.scaling.factor", (int, float))),
        }
    if kind != "none":
        raise UnsupportedError(
            f"{file.path}: rope scaling {kind!r}", hint="none, linear and llama3 are known."
        )
    if _ROPE_FACTORS not in file.tensors:
        return None
    factors = file.tensors[_ROPE_FACTORS].load_rows(0, file.tensors[_ROPE_FACTORS].shape[0])
    scaling = infer_rope_scaling(factors.astype(np.float64), head_dim, theta)
    if scaling is None:
        raise UnsupportedError(
            f"{file.path}: its rope factors ({_ROPE_FACTORS}) are not of the llama3 kind",
            hint="Compile the safetensors checkpoint; its config.json says what they are.",
        )
    return scaling


def _drop_float32_noise(value: float) -> float:
    """GGUF stores float32: 9.999999747378752e-06 was written as 1e-05."""
    return float(np.format_float_positional(np.float32(value), unique=True))
