"""Configs that contradict themselves, or ask for what no kernel does, are refused with the key's name."""

from __future__ import annotations

from typing import Any

import pytest

from mlcweb.errors import CheckpointError, MlcwebError, UnsupportedError
from mlcweb.models import architecture
from tests.fixtures.models.cases import BY_NAME

CONTRADICTIONS: list[tuple[str, dict[str, Any], str]] = [
    ("smollm3", {"no_rope_layers": [1, 0]}, "no_rope_layers"),
    ("smollm3", {"no_rope_layers": [1, 1, 1, 2]}, "no_rope_layers"),
    ("smollm3", {"no_rope_layers": "every fourth"}, "no_rope_layers"),
    ("smollm3", {"no_rope_layers": None, "no_rope_layer_interval": 0}, "no_rope_layer_interval"),
    ("smollm3", {"layer_types": ["full_attention"]}, "layer_types"),
]
CONTRADICTIONS += [
    ("olmo-3", {"sliding_window": 0}, "sliding_window"),
    ("olmo-3", {"layer_types": "sliding_attention"}, "layer_types"),
    ("exaone-4-32b", {"layer_types": None, "sliding_window_pattern": 0}, "sliding_window_pattern"),
    ("exaone-4-32b", {"layer_types": None, "sliding_window_pattern": ""}, "sliding_window_pattern"),
    ("granite-3.3", {"logits_scaling": 0}, "logits_scaling"),
    ("granite-3.3", {"residual_multiplier": "0.22"}, "residual_multiplier"),
    ("ernie-4.5", {"use_bias": "no"}, "use_bias"),
]
CONTRADICTIONS += [
    ("ministral-3", {"rope_parameters": None}, "rope_parameters"),
    (
        "ministral-3",
        {"rope_parameters": {"rope_type": "default", "llama_4_scaling_beta": 0.1}},
        "original_max",
    ),
    (
        "ministral-3",
        {"rope_parameters": {"rope_type": "default", "llama_4_scaling_beta": "x"}},
        "scaling_beta",
    ),
    ("qwen3-30b-a3b", {"num_experts_per_tok": 13}, "num_experts_per_tok is 13"),
    ("qwen3-30b-a3b", {"moe_intermediate_size": None}, "moe_intermediate_size"),
    ("olmoe", {"num_experts": 2}, "there are 2 experts"),
    ("gpt-oss", {"num_local_experts": 3}, "there are 3 experts"),
    ("gpt-oss", {"swiglu_limit": 0}, "swiglu_limit"),
    ("gpt-oss", {"layer_types": ["full_attention"]}, "layer_types"),
    ("qwen1.5-moe", {"shared_expert_intermediate_size": 0}, "shared_expert_intermediate_size"),
    ("hunyuan-0.5b", {"rope_scaling": {"type": "dynamic", "alpha": -1.0, "factor": 1.0}}, "alpha"),
]
GEMMA4_ROPES = {"full_attention": {"rope_type": "proportional", "rope_theta": 1e6}}
CONTRADICTIONS += [
    ("gemma-4-e2b", {"num_kv_shared_layers": 5}, "num_kv_shared_layers is 5"),
    ("gemma-4-e2b", {"num_kv_shared_layers": 6}, "num_kv_shared_layers is 6"),
    ("gemma-4-e2b", {"num_kv_shared_layers": -1}, "num_kv_shared_layers"),
    ("gemma-4-e2b", {"hidden_size_per_layer_input": "256"}, "hidden_size_per_layer_input"),
    ("gemma-4-e2b", {"rope_parameters": GEMMA4_ROPES}, "no object for sliding_attention"),
    ("gemma-4-e2b", {"layer_types": ["full_attention"]}, "layer_types"),
]
UNSUPPORTED: list[tuple[str, dict[str, Any], str]] = [
    ("smollm3", {"layer_types": ["linear_attention"] * 4}, "linear_attention"),
    ("granite-4-micro", {"layer_types": ["attention", "mamba"]}, "layer_types"),
    ("granite-4-micro", {"layer_types": None}, "layer_types"),
    ("qwen3-30b-a3b", {"num_experts": 1024}, "num_experts = 1024"),
    ("qwen3-30b-a3b", {"mlp_only_layers": [0]}, "mlp_only_layers"),
    ("qwen3-30b-a3b", {"decoder_sparse_step": 2}, "decoder_sparse_step"),
    ("olmoe", {"clip_qkv": 8.0}, "clip_qkv"),
    ("gpt-oss", {"hidden_act": "gelu"}, "hidden_act"),
    ("qwen1.5-moe", {"decoder_sparse_step": 2}, "decoder_sparse_step"),
    ("qwen1.5-moe", {"shared_expert_intermediate_size": 190}, "shared_expert_intermediate_size"),
    ("hunyuan-0.5b", {"use_qk_norm": False}, "use_qk_norm"),
    ("hunyuan-0.5b", {"use_cla": True}, "use_cla"),
    ("granite-4-micro", {"num_local_experts": 62}, "num_local_experts = 62"),
    ("granite-4-micro", {"position_embedding_type": "alibi"}, "position_embedding_type"),
    ("gemma-4-e2b", {"enable_moe_block": True}, "enable_moe_block"),
    ("gemma-4-e2b", {"attention_k_eq_v": True}, "attention_k_eq_v"),
    ("gemma-4-e2b", {"attention_bias": True}, "attention_bias"),
    ("gemma-4-e2b", {"use_bidirectional_attention": "all"}, "use_bidirectional_attention"),
    ("gemma-4-e2b", {"hidden_activation": "silu"}, "hidden_activation"),
    ("gemma-4-e2b", {"global_head_dim": 40}, "global_head_dim"),
    ("gemma-4-e2b", {"hidden_size_per_layer_input": 30}, "hidden_size_per_layer_input"),
    ("gemma-4-e2b", {"vocab_size_per_layer_input": 128}, "vocab_size_per_layer_input = 128"),
]


def refused(case: str, changes: dict[str, Any], kind: type[MlcwebError], key: str) -> None:
    config = {**BY_NAME[case].text, **changes}
    with pytest.raises(kind, match=key):
        architecture(config)[0].from_hf(config)


@pytest.mark.parametrize(("case", "changes", "key"), CONTRADICTIONS, ids=str)
def test_a_contradiction_is_bad_input(case: str, changes: dict[str, Any], key: str) -> None:
    refused(case, changes, CheckpointError, key)


@pytest.mark.parametrize(("case", "changes", "key"), UNSUPPORTED, ids=str)
def test_what_no_kernel_does_is_unsupported(case: str, changes: dict[str, Any], key: str) -> None:
    refused(case, changes, UnsupportedError, key)
