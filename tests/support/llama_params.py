"""A few parameters of a tiny Llama, one of three tensors."""

from __future__ import annotations

from mlcweb.quantize import Param

LAYER = "model.layers.0.self_attn."
QKV = tuple(LAYER + f"{part}_proj.weight" for part in "qkv")
PARAMS = [
    Param("model.embed_tokens", (320, 64), ("model.embed_tokens.weight",), True, part="vocab"),
    Param("model.layers.0.input_layernorm", (64,), ("model.layers.0.input_layernorm.weight",), False),
    Param(LAYER + "qkv_proj", (128, 64), QKV, True),
    Param(LAYER + "o_proj", (64, 64), (LAYER + "o_proj.weight",), False),
]
