"""A Llama's sizes from Hugging Face config keys, refusing every key that would change the arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlcweb.errors import UnsupportedError


@dataclass(frozen=True)
class LlamaConfig:
    """Element counts, and ``rope`` as Hugging Face's rope parameters (``rope_type``, ``rope_theta``, …)."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    context: int
    norm_eps: float
    tied: bool
    rope: Mapping[str, Any]

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> LlamaConfig:
        """Read a ``config.json``; defaults are transformers' LlamaConfig's.

        Raises UnsupportedError for biases, another activation, a sliding window or another rope.
        """
        if config.get("attention_bias") or config.get("mlp_bias"):
            raise UnsupportedError("the reference has no biases, and the config asks for them")
        if config.get("hidden_act", "silu") != "silu":
            raise UnsupportedError(f"the reference has silu, and the config asks for {config['hidden_act']}")
        if config.get("sliding_window"):
            raise UnsupportedError(
                "the reference has full attention, and the config asks for a sliding window"
            )
        heads = int(config["num_attention_heads"])
        hidden = int(config["hidden_size"])
        return cls(
            hidden=hidden,
            layers=int(config["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_dim=int(config.get("head_dim") or hidden // heads),
            intermediate=int(config["intermediate_size"]),
            vocab=int(config["vocab_size"]),
            context=int(config.get("max_position_embeddings", 2048)),
            norm_eps=float(config.get("rms_norm_eps", 1e-6)),
            tied=bool(config.get("tie_word_embeddings", False)),
            rope=_rope(config),
        )


def _rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """transformers 5 writes ``rope_parameters``; before, ``rope_theta`` and ``rope_scaling`` stood apart."""
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": config.get("rope_theta", 10000.0)}
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if "type" in scaling:
        rope["rope_type"] = scaling["type"]
    rope |= scaling
    if rope["rope_type"] not in ("default", "linear", "llama3"):
        raise UnsupportedError(
            f"the reference has no rope_type {rope['rope_type']!r}; it has default, linear and llama3"
        )
    return rope
