"""What a model takes, from its config alone: parameters, and bytes to download and to have on the GPU."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from mlcweb.models import LlamaConfig
from mlcweb.quantize import Scheme, packed_tensors


@dataclass(frozen=True)
class Footprint:
    """Bytes: ``weights`` in the bundle and again on the GPU, ``kv_cache`` on the GPU at the whole context.

    Next to these, a bundle has tokenizer and kernels, and the GPU the scratch of a prefill chunk: ``mlcweb inspect``.
    """

    weights: int
    kv_cache: int

    @property
    def gpu(self) -> int:
        """Both."""
        return self.weights + self.kv_cache


def footprint(config: LlamaConfig, scheme: Scheme, context: int, kv_dtype: str | None = None) -> Footprint:
    """Of a model with this quantization, for ``context`` tokens; ``kv_dtype`` is the activations' by default."""
    dtype = kv_dtype or scheme.activation
    page = config.layout(context, dtype).page_shape
    # a layer is like the others, so each distinct parameter is packed once
    alike = Counter(replace(param, name="", sources=()) for param in config.params())
    weights = sum(n * tensor.nbytes for param, n in alike.items() for tensor in packed_tensors(param, scheme))
    tables: Any = config.constants(context).values()
    return Footprint(
        weights=weights + sum(table.nbytes for table in tables),
        kv_cache=config.num_hidden_layers * math.prod(page) * {"float16": 2, "float32": 4}[dtype],
    )
