"""Makes a family's config.json from a GGUF file's metadata and from which tensors it has.

Key names: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md . What a family's files leave out is as llama.cpp
takes it, which is what its models were published with.
"""

from __future__ import annotations

import math
from typing import Any

from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.sources.gguf.metadata import Metadata
from mlcweb.sources.gguf.rope import read_proportional, read_rope

Config = dict[str, Any]

# Gemma's 27B models, by their layers, divide scores by the root of this instead of a head's size.
_GEMMA_27B_LAYERS = {"gemma2": 46, "gemma3": 62}


def llama(m: Metadata) -> Config:
    """Which Mistral, Mixtral and OLMo-2 add to."""
    biases = {
        "attention_bias": m.has_tensor("blk.0.attn_q.bias"),
        "mlp_bias": m.has_tensor("blk.0.ffn_up.bias"),
    }
    return _sizes(m) | {"hidden_act": "silu", "rms_norm_eps": _rms_eps(m)} | biases


def mistral(m: Metadata) -> Config:
    """With the window that v0.1 has; llama.cpp's converter does not write it."""
    return llama(m) | {"sliding_window": _window(m)}


def mistral3(m: Metadata) -> Config:
    config = mistral(m)
    if m.has("attention.temperature_scale") and config["rope_scaling"] is not None:
        config["rope_scaling"]["llama_4_scaling_beta"] = m.positive("attention.temperature_scale")
    return config


def mixtral(m: Metadata) -> Config:
    return mistral(m) | {
        "num_local_experts": m.count("expert_count"),
        "num_experts_per_tok": m.count("expert_used_count"),
    }


def smollm3(m: Metadata) -> Config:
    """Which layers have no RoPE is not in the file: llama.cpp knows."""
    return llama(m) | {"no_rope_layer_interval": 4}


def qwen2(m: Metadata) -> Config:
    """Its biases are part of the architecture."""
    return _sizes(m) | {"hidden_act": "silu", "rms_norm_eps": _rms_eps(m)}


def qwen3(m: Metadata) -> Config:
    return qwen2(m) | {"attention_bias": m.has_tensor("blk.0.attn_q.bias")}


def qwen3moe(m: Metadata) -> Config:
    return qwen3(m) | _experts(m) | {"norm_topk_prob": True}


def qwen2moe(m: Metadata) -> Config:
    """Its shares are of all experts, and its biases part of the architecture."""
    shared = m.file.tensors.get("blk.0.ffn_gate_shexp.weight")
    return (
        qwen2(m)
        | _experts(m)
        | {
            "norm_topk_prob": False,
            "qkv_bias": True,
            "shared_expert_intermediate_size": shared.shape[0]
            if shared
            else m.count("expert_shared_feed_forward_length"),
        }
    )


def qwen35(m: Metadata) -> Config:
    """Layers that predict several tokens come after the model's own, and are left out."""
    config, heads = qwen2(m), m.count("ssm.time_step_rank")
    predicting, width = m.get("nextn_predict_layers", int, 0), m.count("ssm.inner_size")
    keys = m.count("ssm.group_count")
    if width % heads or heads % keys or not 0 <= predicting < config["num_hidden_layers"]:
        raise CheckpointError(
            f"{m.file.path}: {keys} heads of keys, {heads} of values, {width} values and {predicting} layers that "
            "predict make no model"
        )
    return config | {
        "attention_bias": False,
        "full_attention_interval": m.count("full_attention_interval", 4),
        "linear_conv_kernel_dim": m.count("ssm.conv_kernel"),
        "linear_key_head_dim": m.count("ssm.state_size"),
        "linear_num_key_heads": keys,
        "linear_num_value_heads": heads,
        "linear_value_head_dim": width // heads,
        "mtp_num_hidden_layers": predicting,
        "num_hidden_layers": config["num_hidden_layers"] - predicting,
    }


def gpt_oss(m: Metadata) -> Config:
    """Every second layer has a window, and YaRN's ramp is not cut to whole dimensions, as the model is published: the
    file does not say so, and llama.cpp cuts it all the same.
    """
    config = qwen2(m) | _experts(m)
    if isinstance(config["rope_scaling"], dict) and config["rope_scaling"]["rope_type"] == "yarn":
        config["rope_scaling"]["truncate"] = False
    return config | {
        "attention_bias": m.has_tensor("blk.0.attn_q.bias"),
        "intermediate_size": config["moe_intermediate_size"],
        "num_local_experts": config["num_experts"],
        "sliding_window": _window(m),
    }


def hunyuan_dense(m: Metadata) -> Config:
    """The converter stretches theta itself."""
    return qwen2(m) | {"attention_bias": m.has_tensor("blk.0.attn_q.bias")}


def olmoe(m: Metadata) -> Config:
    """Each family's shares are as llama.cpp's graph of it has them."""
    return llama(m) | _experts(m) | {"norm_topk_prob": False}


def _experts(m: Metadata) -> Config:
    inner = m.count("expert_feed_forward_length", m.count("feed_forward_length"))
    return {
        "moe_intermediate_size": inner,
        "num_experts": m.count("expert_count"),
        "num_experts_per_tok": m.count("expert_used_count"),
    }


def gemma(m: Metadata) -> Config:
    activation = {"hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh"}
    return _sizes(m) | activation | {"rms_norm_eps": _rms_eps(m), "attention_bias": False}


def gemma2(m: Metadata) -> Config:
    return gemma(m) | {
        "query_pre_attn_scalar": _query_scalar(m),
        "attn_logit_softcapping": m.number("attn_logit_softcapping", 50.0),
        "final_logit_softcapping": m.number("final_logit_softcapping", 30.0),
        "sliding_window": m.count("attention.sliding_window", 4096),
    }


def gemma3(m: Metadata) -> Config:
    config = gemma(m) | {
        "query_pre_attn_scalar": _query_scalar(m),
        "final_logit_softcapping": m.number("final_logit_softcapping", None),
        "sliding_window": _window(m),
        "rope_local_base_freq": m.positive("rope.freq_base_swa", 10000.0),
        "sliding_window_pattern": 6,
    }
    return config | _layer_types(m)


def gemma4(m: Metadata) -> Config:
    """Lengths without ``swa`` are of layers that see everything, as are the factors of RoPE that a tensor has."""
    inner = m.get("feed_forward_length", (list, int))
    each = inner if isinstance(inner, list) else [inner]
    kv_heads = m.get("attention.head_count_kv", (list, int))
    counts = set(kv_heads) if isinstance(kv_heads, list) else {kv_heads}
    if len(counts) != 1 or m.has_tensor("blk.0.ffn_gate_inp.weight"):
        raise UnsupportedError(
            f"{m.file.path}: is a Gemma 4 with experts, or with fewer KV heads in some layers",
            hint="E2B and E4B can be compiled.",
        )
    per_layer = m.file.tensors.get("per_layer_token_embd.weight")
    return {
        "attention_bias": False,
        "final_logit_softcapping": m.number("final_logit_softcapping", None),
        "global_head_dim": m.count("attention.key_length"),
        "head_dim": m.count("attention.key_length_swa"),
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": m.count("embedding_length"),
        "hidden_size_per_layer_input": m.get("embedding_length_per_layer_input", int, 0),
        "intermediate_size": each[0],
        "max_position_embeddings": m.count("context_length"),
        "num_attention_heads": m.count("attention.head_count"),
        "num_hidden_layers": m.count("block_count"),
        "num_key_value_heads": counts.pop(),
        "num_kv_shared_layers": m.get("attention.shared_kv_layers", int, 0),
        "rms_norm_eps": _rms_eps(m),
        "rope_parameters": {
            "full_attention": read_proportional(m) | {"rope_theta": m.positive("rope.freq_base", 1e6)},
            "sliding_attention": {
                "rope_type": "default",
                "rope_theta": m.positive("rope.freq_base_swa", 1e4),
            },
        },
        "sliding_window": m.count("attention.sliding_window"),
        "tie_word_embeddings": not m.has_tensor("output.weight"),
        "use_double_wide_mlp": len(set(each)) > 1,
        "vocab_size": _vocab_size(m),
        **({} if per_layer is None else {"vocab_size_per_layer_input": per_layer.shape[0]}),
        **_layer_types(m),
    }


def phi2(m: Metadata) -> Config:
    return _sizes(m) | {"hidden_act": "gelu_new", "layer_norm_eps": _layer_eps(m)}


def phi3(m: Metadata) -> Config:
    original = m.count("rope.scaling.original_context_length", None)
    config = {"hidden_act": "silu", "rms_norm_eps": _rms_eps(m), "sliding_window": _window(m)}
    return _sizes(m) | config | ({"original_max_position_embeddings": original} if original else {})


def stablelm(m: Metadata) -> Config:
    """What its tensors say counts: the converter writes that any model without the key has parallel halves."""
    return _sizes(m) | {
        "hidden_act": "silu",
        "layer_norm_eps": _layer_eps(m),
        "use_qkv_bias": m.has_tensor("blk.0.attn_q.bias"),
        "qk_layernorm": m.has_tensor("blk.0.attn_q_norm.weight"),
        "use_parallel_residual": not m.has_tensor("blk.0.ffn_norm.weight"),
    }


def gpt2(m: Metadata) -> Config:
    heads = m.count("attention.head_count")
    return {
        "activation_function": "gelu_new",
        "layer_norm_epsilon": _layer_eps(m),
        "n_embd": m.count("embedding_length"),
        "n_head": heads,
        "n_inner": m.count("feed_forward_length"),
        "n_layer": m.count("block_count"),
        "n_positions": m.count("context_length"),
        "tie_word_embeddings": not m.has_tensor("output.weight"),
        "vocab_size": _vocab_size(m),
    }


def gpt_neox(m: Metadata) -> Config:
    """``gelu`` is what Pythia and RedPajama are published with; GGUF does not say."""
    config = _sizes(m)
    return config | {
        "hidden_act": "gelu",
        "layer_norm_eps": _layer_eps(m),
        "rotary_emb_base": config["rope_theta"],
        "rotary_pct": config.pop("partial_rotary_factor", 1.0),
        "use_parallel_residual": m.get("use_parallel_residual", bool, True),
    }


def olmo3(m: Metadata) -> Config:
    return llama(m) | {"sliding_window": _window(m)} | _layer_types(m)


def exaone4(m: Metadata) -> Config:
    """Without a window, all layers see everything."""
    window = _window(m)
    config = qwen2(m) | {"sliding_window": window, "sliding_window_pattern": 4}
    return config | (_layer_types(m) if window else {})


def granite(m: Metadata) -> Config:
    """llama.cpp takes a scaling that is not finetuned for no RoPE."""
    if not m.get("rope.scaling.finetuned", bool, True):
        raise UnsupportedError(f"{m.file.path}: is a Granite without RoPE", hint="Compile its safetensors.")
    return llama(m) | {
        "attention_multiplier": m.positive("attention.scale"),
        "embedding_multiplier": m.positive("embedding_scale"),
        "residual_multiplier": m.positive("residual_scale"),
        "logits_scaling": m.positive("logit_scale"),
    }


def ernie4_5(m: Metadata) -> Config:
    return qwen2(m) | {"use_bias": m.has_tensor("blk.0.attn_q.bias")}


def starcoder2(m: Metadata) -> Config:
    return _sizes(m) | {
        "hidden_act": "gelu_pytorch_tanh",
        "norm_epsilon": _layer_eps(m),
        "sliding_window": _window(m),
        "use_bias": m.has_tensor("blk.0.attn_q.bias"),
    }


def lfm2(m: Metadata) -> Config:
    """Layers without heads of keys and values are convolutions."""
    layers, kv_heads = m.count("block_count"), m.get("attention.head_count_kv", (list, int))
    each = kv_heads if isinstance(kv_heads, list) else [kv_heads] * layers
    if len(each) != layers or len({count for count in each if count}) != 1:
        raise CheckpointError(f"{m.file.path}: lfm2.attention.head_count_kv is {each} for {layers} layers")
    return _sizes(m, max(each)) | {
        "block_auto_adjust_ff_dim": False,
        "conv_L_cache": m.count("shortconv.l_cache", 3),
        "conv_bias": any(m.has_tensor(f"blk.{i}.shortconv.conv.bias") for i in range(layers)),
        "layer_types": ["full_attention" if count else "conv" for count in each],
        "norm_eps": _rms_eps(m),
    }


def _sizes(m: Metadata, kv_heads: int | None = None) -> Config:
    """The keys that all families but GPT-2 share, RoPE's among them; ``kv_heads`` where layers differ."""
    hidden, heads = m.count("embedding_length"), m.count("attention.head_count")
    head_dim = m.count("attention.key_length", hidden // heads)
    if not head_dim or head_dim % 2:
        raise CheckpointError(f"{m.file.path}: {heads} heads of {hidden} have {head_dim} dimensions each")
    config = {
        "hidden_size": hidden,
        "intermediate_size": m.count("feed_forward_length"),
        "num_hidden_layers": m.count("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads or m.count("attention.head_count_kv", heads),
        "head_dim": head_dim,
        "max_position_embeddings": m.count("context_length"),
        "tie_word_embeddings": not m.has_tensor("output.weight"),
        "vocab_size": _vocab_size(m),
    }
    dims = m.count("rope.dimension_count", head_dim)
    if dims != head_dim:
        fraction = dims / head_dim
        # the product is cut to an integer, which must not be the one below
        config["partial_rotary_factor"] = (
            fraction if int(head_dim * fraction) == dims else math.nextafter(fraction, 1.0)
        )
    return config | read_rope(m, dims)


def _vocab_size(m: Metadata) -> int:
    """The embedding says how many rows there are; the key is optional and may leave out padding."""
    embedding = m.file.tensors.get("token_embd.weight")
    if embedding is None:
        raise CheckpointError(f"{m.file.path}: has no token_embd.weight")
    return embedding.shape[0]


def _rms_eps(m: Metadata) -> Any:
    return m.number("attention.layer_norm_rms_epsilon")


def _layer_eps(m: Metadata) -> Any:
    return m.number("attention.layer_norm_epsilon")


def _window(m: Metadata) -> int | None:
    """0 is none: so Phi-4 is told from Phi-3."""
    return m.get("attention.sliding_window", int, 0) or None


def _layer_types(m: Metadata) -> Config:
    """Which layers see a window, if the file says so: an entry a layer, or that all but every so many do."""
    pattern = m.get("attention.sliding_window_pattern", (list, int), None)
    if not isinstance(pattern, list):
        return {} if pattern is None else {"sliding_window_pattern": pattern}
    if len(pattern) != m.count("block_count"):
        raise CheckpointError(
            f"{m.file.path}: {m.architecture}.attention.sliding_window_pattern has {len(pattern)} entries for "
            f"{m.count('block_count')} layers"
        )
    return {"layer_types": ["sliding_attention" if slides else "full_attention" for slides in pattern]}


def _query_scalar(m: Metadata) -> int:
    """Not in the file: llama.cpp knows the one size that differs by its layers."""
    hidden, heads = m.count("embedding_length"), m.count("attention.head_count")
    if m.count("block_count") == _GEMMA_27B_LAYERS[m.architecture]:
        return int(hidden // heads)
    return int(m.count("attention.key_length", hidden // heads))
