"""Checks that a config's sizes can be those of the checkpoint's tensors, before a model is made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from mlcweb.errors import CheckpointError
from mlcweb.models import DecoderConfig
from mlcweb.sources import LazyTensor

# What is wrong by less gets as far as the comparison of each tensor's shape, whose message says more.
_SLACK = 4


def check_fit(config: DecoderConfig, tensors: Mapping[str, LazyTensor]) -> None:
    """Raise CheckpointError where the config describes far more than the checkpoint holds.

    Declaring a model takes time and memory by its layers and sizes, which a damaged config.json can make any.
    """
    shapes = [tensor.shape for tensor in tensors.values() if math.prod(tensor.shape)]
    if config.num_hidden_layers > len(shapes):
        raise _misfit(f"num_hidden_layers is {config.num_hidden_layers}", f"{len(shapes)} tensors")
    longest = max((max(shape, default=1) for shape in shapes), default=1)
    sizes = {
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_attention_heads times head_dim": config.query_width,
    }
    if config.learned_positions:
        sizes["max_position_embeddings"] = config.max_position_embeddings
    for key, size in sizes.items():
        if size > _SLACK * longest:
            raise _misfit(f"{key} is {size}", f"no tensor with more than {longest} rows or columns")
    inner = 2 * (config.query_width + config.intermediate_size)
    least = config.hidden_size * (config.vocab_size + config.num_hidden_layers * inner)
    weights = sum(math.prod(shape) for shape in shapes)
    if least > _SLACK * weights:
        raise _misfit(f"its sizes make at least {least} weights", f"{weights}")


def _misfit(said: str, actual: str) -> CheckpointError:
    return CheckpointError(
        f"config.json: {said}; the checkpoint has {actual}",
        hint="Use the config.json that was published with these weights.",
    )
