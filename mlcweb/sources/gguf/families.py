"""Lists the GGUF architectures as Hugging Face has them: class, config, names of tensors, what to undo.

Names of tensors are those that the gguf library's ``tensor_mapping`` maps from the checkpoint's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlcweb.errors import UnsupportedError
from mlcweb.sources.checkpoint import LazyTensor
from mlcweb.sources.gguf import config as gguf_config
from mlcweb.sources.gguf.file import GgufFile
from mlcweb.sources.gguf.metadata import Metadata
from mlcweb.sources.gguf.reader import describe
from mlcweb.sources.gguf.rope import FACTORS
from mlcweb.sources.gguf.undo import (
    Undo,
    as_it_is,
    fused,
    heads_together,
    minus_one,
    one_row,
    rotary_pairs,
    stacked,
    transposed,
    without_suffix,
)
from mlcweb.sources.gguf.value_heads import decay_rate, value_columns, value_rows

_LAYER_TENSOR = re.compile(r"blk\.(\d+)\.([\w.]+?)(\.weight|\.bias|)")
_TOP_TENSOR = re.compile(r"(\w+)\.(weight|bias)")

_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_ATTENTION = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
}
_MLP = {"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
_NORMS = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
_POST_NORMS = {
    "post_attention_norm": "post_attention_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_HEAD_NORMS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
_LLAMA = {**_NORMS, **_ATTENTION, **_MLP}
_GEMMA2 = {**_LLAMA, **_POST_NORMS, "ffn_norm": "pre_feedforward_layernorm"}


@dataclass(frozen=True)
class Family:
    """``architecture`` and ``model_type`` are config.json's; ``config`` makes its other keys.

    ``names`` are a layer's tensors and ``top`` those around the layers, by GGUF's names without suffix; ``undo`` is
    what to do with some of either.
    """

    architecture: str
    model_type: str
    config: Callable[[Metadata], dict[str, Any]]
    names: Mapping[str, str]
    undo: Mapping[str, Undo] = field(default_factory=dict)
    top: Mapping[str, str] = field(default_factory=lambda: _TOP)
    layers: str = "model.layers"


_PAIRS: Mapping[str, Undo] = {"attn_q": rotary_pairs, "attn_k": rotary_pairs}
_MINUS_ONE: Mapping[str, Undo] = {
    name: minus_one for name in ("output_norm", *_NORMS, *_POST_NORMS, *_HEAD_NORMS)
}
_MIXTRAL = Family(
    "MixtralForCausalLM",
    "mixtral",
    gguf_config.mixtral,
    {
        **_NORMS,
        **_ATTENTION,
        "ffn_gate_inp": "block_sparse_moe.gate",
        "ffn_gate_exps": "block_sparse_moe.experts.{}.w1",
        "ffn_down_exps": "block_sparse_moe.experts.{}.w2",
        "ffn_up_exps": "block_sparse_moe.experts.{}.w3",
    },
    {**_PAIRS, **dict.fromkeys(("ffn_gate_exps", "ffn_down_exps", "ffn_up_exps"), stacked)},
)
_MISTRAL = Family("MistralForCausalLM", "mistral", gguf_config.mistral, _LLAMA, _PAIRS)
_EXPERTS = {
    "ffn_gate_inp": "mlp.gate",
    "ffn_gate_exps": "mlp.experts.{}.gate_proj",
    "ffn_down_exps": "mlp.experts.{}.down_proj",
    "ffn_up_exps": "mlp.experts.{}.up_proj",
}
_STACKED: Mapping[str, Undo] = dict.fromkeys(("ffn_gate_exps", "ffn_down_exps", "ffn_up_exps"), stacked)
_MOE = {**_NORMS, **_ATTENTION, **_HEAD_NORMS, **_EXPERTS}
_SHARED = {
    "ffn_gate_inp_shexp": "mlp.shared_expert_gate",
    "ffn_gate_shexp": "mlp.shared_expert.gate_proj",
    "ffn_down_shexp": "mlp.shared_expert.down_proj",
    "ffn_up_shexp": "mlp.shared_expert.up_proj",
}
_OLMO2 = {**_ATTENTION, **_MLP, **_POST_NORMS, **_HEAD_NORMS}
_OLMO3 = Family("Olmo3ForCausalLM", "olmo3", gguf_config.olmo3, _OLMO2)
FAMILIES: dict[str, Family] = {
    "llama": Family("LlamaForCausalLM", "llama", gguf_config.llama, _LLAMA, _PAIRS),
    "mistral3": Family("Ministral3ForCausalLM", "ministral3", gguf_config.mistral3, _LLAMA, _PAIRS),
    "qwen2": Family("Qwen2ForCausalLM", "qwen2", gguf_config.qwen2, _LLAMA),
    "qwen2moe": Family(
        "Qwen2MoeForCausalLM",
        "qwen2_moe",
        gguf_config.qwen2moe,
        {**_NORMS, **_ATTENTION, **_EXPERTS, **_SHARED},
        {**_STACKED, "ffn_gate_inp_shexp": one_row},
    ),
    "gpt-oss": Family(
        "GptOssForCausalLM",
        "gpt_oss",
        gguf_config.gpt_oss,
        {
            **_ATTENTION,
            **_EXPERTS,
            "attn_norm": "input_layernorm",
            "post_attention_norm": "post_attention_layernorm",
            "attn_sinks": "self_attn.sinks",
            "ffn_gate_inp": "mlp.router",
        },
        {**_STACKED, "attn_sinks": without_suffix},
    ),
    "hunyuan-dense": Family(
        "HunYuanDenseV1ForCausalLM",
        "hunyuan_v1_dense",
        gguf_config.hunyuan_dense,
        {
            **_LLAMA,
            "attn_q_norm": "self_attn.query_layernorm",
            "attn_k_norm": "self_attn.key_layernorm",
        },
    ),
    "qwen3": Family("Qwen3ForCausalLM", "qwen3", gguf_config.qwen3, {**_LLAMA, **_HEAD_NORMS}),
    "qwen3moe": Family("Qwen3MoeForCausalLM", "qwen3_moe", gguf_config.qwen3moe, _MOE, _STACKED),
    "olmoe": Family("OlmoeForCausalLM", "olmoe", gguf_config.olmoe, _MOE, _STACKED),
    "qwen2vl": Family("Qwen2ForCausalLM", "qwen2", gguf_config.qwen2, _LLAMA),
    "qwen3vl": Family("Qwen3ForCausalLM", "qwen3", gguf_config.qwen3, {**_LLAMA, **_HEAD_NORMS}),
    "qwen35": Family(
        "Qwen3_5ForCausalLM",
        "qwen3_5_text",
        gguf_config.qwen35,
        {
            **_ATTENTION,
            **_MLP,
            **_HEAD_NORMS,
            "attn_norm": "input_layernorm",
            "post_attention_norm": "post_attention_layernorm",
            "attn_qkv": "linear_attn.in_proj_qkv",
            "attn_gate": "linear_attn.in_proj_z",
            "ssm_beta": "linear_attn.in_proj_b",
            "ssm_alpha": "linear_attn.in_proj_a",
            "ssm_a": "linear_attn.A_log",
            "ssm_dt": "linear_attn.dt_bias",
            "ssm_conv1d": "linear_attn.conv1d",
            "ssm_norm": "linear_attn.norm",
            "ssm_out": "linear_attn.out_proj",
        },
        {
            **_MINUS_ONE,
            **dict.fromkeys(("attn_qkv", "attn_gate", "ssm_beta", "ssm_alpha", "ssm_conv1d"), value_rows),
            "ssm_a": decay_rate,
            "ssm_dt": value_rows,
            "ssm_out": value_columns,
        },
    ),
    "gemma": Family("GemmaForCausalLM", "gemma", gguf_config.gemma, _LLAMA, _MINUS_ONE),
    "gemma2": Family("Gemma2ForCausalLM", "gemma2", gguf_config.gemma2, _GEMMA2, _MINUS_ONE),
    "gemma3": Family(
        "Gemma3ForCausalLM", "gemma3_text", gguf_config.gemma3, {**_GEMMA2, **_HEAD_NORMS}, _MINUS_ONE
    ),
    "gemma4": Family(
        "Gemma4ForCausalLM",
        "gemma4_text",
        gguf_config.gemma4,
        {
            **_GEMMA2,
            **_HEAD_NORMS,
            "inp_gate": "per_layer_input_gate",
            "proj": "per_layer_projection",
            "post_norm": "post_per_layer_input_norm",
            "layer_output_scale": "layer_scalar",
        },
        {"layer_output_scale": without_suffix},
        {
            **_TOP,
            "per_layer_token_embd": "model.embed_tokens_per_layer",
            "per_layer_model_proj": "model.per_layer_model_projection",
            "per_layer_proj_norm": "model.per_layer_projection_norm",
        },
    ),
    "phi2": Family(
        "PhiForCausalLM",
        "phi",
        gguf_config.phi2,
        {
            **_ATTENTION,
            "attn_norm": "input_layernorm",
            "attn_qkv": "self_attn.{}_proj",
            "attn_output": "self_attn.dense",
            "ffn_up": "mlp.fc1",
            "ffn_down": "mlp.fc2",
        },
        {"attn_qkv": fused},
        {**_TOP, "output_norm": "model.final_layernorm"},
    ),
    "phi3": Family(
        "Phi3ForCausalLM",
        "phi3",
        gguf_config.phi3,
        {
            **_NORMS,
            "attn_qkv": "self_attn.qkv_proj",
            "attn_output": "self_attn.o_proj",
            "ffn_up": "mlp.gate_up_proj",
            "ffn_down": "mlp.down_proj",
        },
    ),
    "stablelm": Family(
        "StableLmForCausalLM",
        "stablelm",
        gguf_config.stablelm,
        {
            **_LLAMA,
            "attn_q_norm": "self_attn.q_layernorm.norms.{}",
            "attn_k_norm": "self_attn.k_layernorm.norms.{}",
        },
        {"attn_q_norm": stacked, "attn_k_norm": stacked},
    ),
    "gpt2": Family(
        "GPT2LMHeadModel",
        "gpt2",
        gguf_config.gpt2,
        {
            "attn_norm": "ln_1",
            "attn_qkv": "attn.c_attn",
            "attn_output": "attn.c_proj",
            "ffn_norm": "ln_2",
            "ffn_up": "mlp.c_fc",
            "ffn_down": "mlp.c_proj",
        },
        dict.fromkeys(("attn_qkv", "attn_output", "ffn_up", "ffn_down"), transposed),
        {
            "token_embd": "transformer.wte",
            "position_embd": "transformer.wpe",
            "output_norm": "transformer.ln_f",
            "output": "lm_head",
        },
        "transformer.h",
    ),
    "gptneox": Family(
        "GPTNeoXForCausalLM",
        "gpt_neox",
        gguf_config.gpt_neox,
        {
            **_NORMS,
            "attn_qkv": "attention.query_key_value",
            "attn_output": "attention.dense",
            "ffn_up": "mlp.dense_h_to_4h",
            "ffn_down": "mlp.dense_4h_to_h",
        },
        {"attn_qkv": heads_together},
        {
            "token_embd": "gpt_neox.embed_in",
            "output_norm": "gpt_neox.final_layer_norm",
            "output": "embed_out",
        },
        "gpt_neox.layers",
    ),
    "olmo2": Family("Olmo2ForCausalLM", "olmo2", gguf_config.llama, _OLMO2),
    "granite": Family("GraniteForCausalLM", "granite", gguf_config.granite, _LLAMA, _PAIRS),
    "exaone4": Family("Exaone4ForCausalLM", "exaone4", gguf_config.exaone4, _OLMO2),
    "ernie4_5": Family("Ernie4_5ForCausalLM", "ernie4_5", gguf_config.ernie4_5, _LLAMA),
    "smollm3": Family("SmolLM3ForCausalLM", "smollm3", gguf_config.smollm3, _LLAMA, _PAIRS),
    "lfm2": Family(
        "Lfm2ForCausalLM",
        "lfm2",
        gguf_config.lfm2,
        {
            **_ATTENTION,
            "attn_norm": "operator_norm",
            "attn_output": "self_attn.out_proj",
            "attn_q_norm": "self_attn.q_layernorm",
            "attn_k_norm": "self_attn.k_layernorm",
            "shortconv.conv": "conv.conv",
            "shortconv.in_proj": "conv.in_proj",
            "shortconv.out_proj": "conv.out_proj",
            "ffn_norm": "ffn_norm",
            "ffn_gate": "feed_forward.w1",
            "ffn_down": "feed_forward.w2",
            "ffn_up": "feed_forward.w3",
        },
        top={
            "token_embd": "model.embed_tokens",
            "token_embd_norm": "model.embedding_norm",
            "output": "lm_head",
        },
    ),
    "starcoder2": Family(
        "Starcoder2ForCausalLM",
        "starcoder2",
        gguf_config.starcoder2,
        {**_NORMS, **_ATTENTION, "ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj"},
    ),
}


def find_family(m: Metadata) -> Family:
    """The family of a file. Raises UnsupportedError, naming those known."""
    if m.architecture not in FAMILIES:
        raise UnsupportedError(
            f"{m.file.path}: GGUF architecture {describe(m.architecture)} is not supported; "
            f"known: {', '.join(FAMILIES)}",
            hint="Compile the model's safetensors checkpoint if its family is supported.",
        )
    # GGUF calls all of Llama's relatives llama that its graph can compute.
    if m.architecture == "llama" and m.get("expert_count", int, 0):
        return _MIXTRAL
    if m.architecture == "llama" and m.has("attention.sliding_window"):
        return _MISTRAL
    if m.architecture == "olmo2" and m.has("attention.sliding_window"):
        return _OLMO3
    return FAMILIES[m.architecture]


def build_config(m: Metadata, family: Family) -> dict[str, Any]:
    """config.json without token ids.

    Raises CheckpointError if a key is missing, UnsupportedError for what the config cannot express.
    """
    config = {
        "architectures": [family.architecture],
        "model_type": family.model_type,
        **family.config(m),
    }
    if rotary_pairs in family.undo.values() and "partial_rotary_factor" in config:
        raise UnsupportedError(f"{m.file.path}: rotates only part of each head")
    return config


def build_tensors(file: GgufFile, family: Family, config: dict[str, Any]) -> dict[str, LazyTensor]:
    """The file's tensors under the checkpoint's names, and as it has them.

    A tensor that the family has no name for keeps GGUF's, so that ``require`` reports it. Raises CheckpointError for
    one that its heads do not divide.
    """
    tensors = {}
    for gguf_name, tensor in file.tensors.items():
        if gguf_name in FACTORS or _predicts_more(gguf_name, config):
            continue
        stem, name = _names(family, gguf_name)
        for lazy in family.undo.get(stem, as_it_is)(tensor, name, config):
            tensors[lazy.name] = lazy
    return tensors


def _predicts_more(gguf_name: str, config: Mapping[str, Any]) -> bool:
    """Whether a tensor is of the layers after the model's, which predict several tokens."""
    layer = re.match(r"blk\.(\d+)\.", gguf_name)
    predicting = config.get("mtp_num_hidden_layers", 0)
    return bool(predicting and layer and int(layer[1]) >= config["num_hidden_layers"])


def _names(family: Family, gguf_name: str) -> tuple[str, str]:
    """A tensor's GGUF name within its layer, without suffix ("" if unknown), and the checkpoint's."""
    match = _LAYER_TENSOR.fullmatch(gguf_name)
    if match and match[2] in family.names:
        return match[2], f"{family.layers}.{match[1]}.{family.names[match[2]]}{match[3]}"
    match = _TOP_TENSOR.fullmatch(gguf_name)
    if match and match[1] in family.top:
        return match[1], f"{family.top[match[1]]}.{match[2]}"
    return "", gguf_name
