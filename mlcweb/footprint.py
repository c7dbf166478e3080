"""Computes a model's size from its config alone: parameters, and bytes to download and to have on the GPU."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass, replace
from typing import Any

from mlcweb.contract.constants import DTYPE_BYTES, RECURRENT_COPIES
from mlcweb.kernel_cache import KernelCache, source_digest
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
    recurrent: int = 0  # the states of recurrent layers, with the copies that the engine goes back to

    @property
    def gpu(self) -> int:
        """Weights, KV cache and recurrent states."""
        return self.weights + self.kv_cache + self.recurrent


def footprints(
    hf_config: dict[str, Any],
    schemes: Iterable[Scheme],
    context: int,
    kv_dtype: str | None = None,
    cache: KernelCache | None = None,
    task: str | None = None,
) -> dict[str, Footprint]:
    """Of a config.json with each quantization, by its name, for ``context`` tokens.

    ``kv_dtype`` is the KV cache's, by default the activations'. ``task``: embed or rerank, of a model of whole texts,
    which has no KV cache. Raises as ``architecture`` and its ``from_hf`` do.

    Declaring a model loads TVM, and what ``cache`` has does not.
    """
    schemes = list(schemes)
    key = ["footprint", source_digest("models", "kernels", "quantize"), hf_config, context, kv_dtype, task]
    key += [asdict(scheme) for scheme in schemes]
    cached = None if cache is None else cache.read(key)
    if cached is not None:
        return {name: Footprint(*numbers) for name, numbers in cached.items()}
    counted = _count(hf_config, schemes, context, kv_dtype, task)
    if cache is not None:
        cache.write(key, {name: astuple(footprint) for name, footprint in counted.items()})
    return counted


def _count(
    hf_config: dict[str, Any], schemes: list[Scheme], context: int, kv_dtype: str | None, task: str | None
) -> dict[str, Footprint]:
    from mlcweb.models import architecture, declare_model, usual_task

    config_class, model_class = architecture(hf_config)
    config = config_class.from_hf(hf_config)
    texts = usual_task(task, hf_config, config)
    if config.alike:
        # Two layers are declared, and the second stands for all that follow: 80 would take longer than the rest.
        model = declare_model(model_class, replace(config, num_hidden_layers=2), context=context, texts=texts)
        more, declared = config.num_hidden_layers - 1, 2
    else:
        model = declare_model(model_class, config, context=context, texts=texts)
        more, declared = 1, config.num_hidden_layers
    kv_cache = sum(math.prod(p.shape) for name, p in model.states() if name.endswith(".kv"))
    kv_cache = 0 if texts else kv_cache * config.num_hidden_layers // declared
    recurrent = sum(math.prod(p.shape) for name, p in model.states() if not name.endswith(".kv"))
    params = [(more if p.name.startswith("model.layers.1.") else 1, p) for p in model.params()]
    # by the checkpoint's tensors: one that several parameters are made of counts once
    times = {source: n for n, param in params for source in param.sources}
    parameters = sum(times[source] * math.prod(shape) for source, shape in model.shapes().items())
    tables = sum(table.nbytes for table in model.constants().values())

    def footprint(scheme: Scheme) -> Footprint:
        dtype = kv_dtype or scheme.activation
        return Footprint(
            parameters=parameters,
            weights=tables + sum(n * t.nbytes for n, param in params for t in packed_tensors(param, scheme)),
            kv_cache=kv_cache * DTYPE_BYTES[dtype],
            recurrent=(1 + RECURRENT_COPIES) * recurrent * DTYPE_BYTES["float32"],
        )

    return {scheme.name: footprint(scheme) for scheme in schemes}
