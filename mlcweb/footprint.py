"""What a model takes, from its config alone: parameters, and bytes to download and to have on the GPU."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from mlcweb.kernels.tier import BASE
from mlcweb.models import architecture
from mlcweb.quantize import Scheme, packed_tensors


@dataclass(frozen=True)
class Footprint:
    """``parameters``, and bytes: ``weights`` in the bundle and again on the GPU, ``kv_cache`` on the GPU at the whole
    context.

    Next to these, a bundle has tokenizer and kernels, and the GPU the scratch of a prefill chunk: ``mlcweb inspect``.
    """

    parameters: int
    weights: int
    kv_cache: int

    @property
    def gpu(self) -> int:
        """Weights and KV cache."""
        return self.weights + self.kv_cache


def footprint(
    hf_config: dict[str, Any], scheme: Scheme, context: int, kv_dtype: str | None = None
) -> Footprint:
    """Of a config.json with this quantization, for ``context`` tokens; ``kv_dtype`` is the activations' by default."""
    dtype = kv_dtype or scheme.activation
    config_class, model_class = architecture(hf_config)
    config = config_class.from_hf(hf_config)
    model = model_class(config, scheme, BASE, context, dtype)
    return Footprint(
        parameters=model.weight_count,
        weights=sum(tensor.nbytes for param in model.params() for tensor in packed_tensors(param, scheme))
        + sum(table.nbytes for table in model.constants().values()),
        kv_cache=config.num_hidden_layers
        * math.prod(config.layout(context, dtype).page_shape)
        * {"float16": 2, "float32": 4}[dtype],
    )
