"""A job is a compile with everything decided; its hash tells whether a bundle is what it would make again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version

from mlcweb import __version__
from mlcweb.bundle import ImageFacts
from mlcweb.calibrate import Text
from mlcweb.compile.texts import TextJob
from mlcweb.contract.constants import KvCacheDtype
from mlcweb.evaluate.text import held_out_digest
from mlcweb.kernel_cache import source_digest
from mlcweb.kernels.choice.tier import BASE, Tier
from mlcweb.models import Decoder, DecoderConfig
from mlcweb.quantize import Scheme
from mlcweb.reference.prompt import PromptRenderer
from mlcweb.sources import Checkpoint

# The packages whose code decides a bundle's bytes.
_FOLDERS = (
    "bundle",
    "calibrate",
    "compile",
    "contract",
    "evaluate",
    "kernels",
    "lower",
    "models",
    "native",
    "plan",
    "quantize",
    "reference",
    "sources",
    "wasm",
)


@dataclass(frozen=True)
class Job:
    """A request with everything decided and checked.

    ``kv_cache_dtype`` is None where each tier takes its own; ``prompt_tokens`` is the prompt as the engine renders it.
    ``evaluate``: a short evaluation goes into the manifest. ``matrix``: the tiers that can have ``prefill_matrix`` do.
    ``calibration``: the text that scales are calibrated on; None where they are MLC's, or there are none. ``texts``:
    what a model of whole texts makes of them, which has no prompt. ``images``: how pictures are prepared for a model
    that sees.
    """

    checkpoint: Checkpoint
    config: DecoderConfig
    model_class: type[Decoder]
    scheme: Scheme
    tiers: tuple[Tier, ...]
    context: int
    chunk: int
    kv_cache_dtype: KvCacheDtype | None
    name: str
    licence: str
    prompt: str
    prompt_tokens: tuple[int, ...]
    renderer: PromptRenderer
    matrix: bool = False
    evaluate: bool = True
    calibration: Text | None = None
    texts: TextJob | None = None
    images: ImageFacts | None = None

    def model(self, tier: Tier) -> Decoder:
        """The model for a tier."""
        task = self.texts.task if self.texts else None
        return self.model_class(self.config, self.scheme, tier, self.context, self.kv_cache_dtype, task)

    @cached_property
    def reference_model(self) -> Decoder:
        """The model that the host reference runs, which is also asked for its weights."""
        return self.model(BASE)

    @property
    def family(self) -> str:
        """The architecture's file in ``mlcweb.models``, which is also what recipes call it."""
        return str(self.model_class.__module__).rsplit(".", 1)[-1]

    def digest(self) -> str:
        """sha256 of everything the bundle is made from: input, options and the compiler itself."""
        facts = {
            "compiler": compiler_digest(),
            "checkpoint": self.checkpoint.fingerprint,
            "source": self.checkpoint.source,
            "quantization": self.scheme.name,
            "tiers": [tier.name for tier in self.tiers],
            "context": self.context,
            "chunk": self.chunk,
            "kv_cache_dtype": self.kv_cache_dtype,
            "matrix": self.matrix,
            "evaluate": held_out_digest() if self.evaluate else None,
            "calibration": self.calibration and self.calibration.sha256,
            "name": self.name,
            "licence": self.licence,
            "prompt": self.prompt,
            "texts": self.texts and self.texts.facts(),
            "images": self.images and asdict(self.images),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def compiler_digest() -> str:
    """Two versions of the compiler make different bundles, also between releases; so do two of TVM or wasm-ld."""
    facts = [__version__, version("ziglang"), source_digest(*_FOLDERS)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
