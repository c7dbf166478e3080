"""Writes GGUF files of Llamas, each matrix of a type with random bits (``gguf_types``)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from bench.synthetic.gguf_types import draw
from bench.synthetic.tokenizer import CHAT_TEMPLATE, tiny_vocabulary
from mlcweb.models import architecture, declare_model

_BLOCK_ROWS = 512
_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_random_gguf(
    path: Path, config: dict[str, Any], kind_of: Callable[[str], str], seed: int = 0
) -> Path:
    """A Llama of a config.json; ``kind_of`` gives the type of each of its tensors, by its name in GGUF.

    Norms are float32 ones, and the tokenizer is that of ``tiny``. Large matrices repeat their first rows.
    """
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    _write_tokenizer(writer, config["vocab_size"])
    config_class, model_class = architecture(config)
    drawn: dict[tuple[str, int], np.ndarray] = {}
    for name, shape in declare_model(model_class, config_class.from_hf(config)).shapes().items():
        stored = gguf_name(name)
        if len(shape) == 1:
            writer.add_tensor(stored, np.ones(shape, np.float32))
            continue
        rows, k = shape
        kind = kind_of(stored)
        if (kind, k) not in drawn:
            drawn[kind, k] = draw(kind, _BLOCK_ROWS, k, np.random.default_rng(seed + k))
        block = drawn[kind, k]
        writer.add_tensor(
            stored, np.resize(block, (rows, block.shape[1])), raw_dtype=gguf.GGMLQuantizationType[kind]
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def gguf_name(name: str) -> str:
    """GGUF's name of a Llama's tensor."""
    stem = name.removesuffix(".weight")
    if not stem.startswith("model.layers."):
        return f"{_NAMES[stem]}.weight"
    layer, part = stem.removeprefix("model.layers.").split(".", 1)
    return f"blk.{layer}.{_NAMES[part]}.weight"


def _write_tokenizer(writer: gguf.GGUFWriter, size: int) -> None:
    vocab, merges = tiny_vocabulary()
    padding = size - len(vocab)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([*vocab, *(f"[PAD{i}]" for i in range(padding))])
    writer.add_token_types([3] * 3 + [1] * (len(vocab) - 3) + [5] * padding)
    writer.add_token_merges([f"{left} {right}" for left, right in merges])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(CHAT_TEMPLATE)
