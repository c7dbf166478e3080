"""A Llama whose matrices are of the types that llama.cpp mixes, by name; ``bench.synthetic.gguf_llama`` writes it."""

from __future__ import annotations

from tests.support.tiny import TinyLlama

MODEL = TinyLlama(hidden=256, heads=4, kv_heads=2, head_dim=64, intermediate=512)
# As llama.cpp mixes types, and worse: a value's is another than the query's, and an up's than its gate's.
MIXED = {
    "token_embd": "Q6_K",
    "output": "BF16",
    "attn_q": "Q4_K",
    "attn_k": "Q4_K",
    "attn_v": "Q6_K",
    "attn_output": "Q5_0",
    "ffn_gate": "IQ4_XS",
    "ffn_up": "Q8_0",
    "ffn_down": "Q3_K",
}


def mixed(name: str) -> str:
    return MIXED[name.removesuffix(".weight").split(".")[-1]]
