"""Writes a Llama's GGUF file with gguf's own writer, the way llama.cpp's converter makes it."""

from __future__ import annotations

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind

from bench.synthetic.gguf_llama import gguf_name
from bench.synthetic.tokenizer import tiny_vocabulary
from tests.support.tiny import TinyLlama

MODEL = TinyLlama(dtype="float32")


def permute(weight, heads):
    """llama.cpp's row order for q and k (convert_hf_to_gguf.py)."""
    half = weight.shape[0] // heads // 2
    return weight.reshape(heads, 2, half, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def write_gguf(path, model=MODEL, kind=Kind.F32, arch="llama", factors=None, per_part=0, **extra):
    """``per_part``: tensors in each of several files, PATH without its suffix and -00001-of-00003.gguf."""
    writer = gguf.GGUFWriter(path, arch, split_max_tensors=per_part)
    writer.add_block_count(model.layers)
    writer.add_context_length(model.context)
    writer.add_embedding_length(model.hidden)
    writer.add_feed_forward_length(model.intermediate)
    writer.add_head_count(model.heads)
    writer.add_head_count_kv(model.kv_heads)
    writer.add_key_length(model.head_dim)
    writer.add_rope_dimension_count(model.head_dim)
    writer.add_rope_freq_base(model.rope_theta)
    writer.add_layer_norm_rms_eps(1e-5)
    vocab, merges = tiny_vocabulary()
    texts = [*vocab, *(f"[PAD{i}]" for i in range(model.vocab - len(vocab)))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(texts)
    writer.add_token_types([3] * 3 + [1] * (len(vocab) - 3) + [5] * (len(texts) - len(vocab)))
    writer.add_token_merges([f"{left} {right}" for left, right in merges])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    for key, value in extra.items():
        writer.add_key_value(key.replace("__", "."), *value)
    if factors is not None:
        writer.add_tensor("rope_freqs.weight", factors.astype(np.float32))
    for name, weight in model.weights().items():
        if ".q_proj" in name or ".k_proj" in name:
            weight = permute(weight, model.heads if ".q_proj" in name else model.kv_heads)
        stored = Kind.F32 if weight.ndim == 1 else kind
        writer.add_tensor(gguf_name(name), gguf.quantize(weight, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
