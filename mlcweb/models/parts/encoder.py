"""Has what encoders share, which see a whole text at once: a norm of the embedding, and rows for token types."""

from __future__ import annotations

from typing import Any, cast

from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.ops import Array, Operations, TextOperations
from mlcweb.models.parts.decoder import Decoder
from mlcweb.models.parts.text_head import TextTask
from mlcweb.models.parts.weights import WeightBuilder
from mlcweb.quantize import Scheme


class Encoder(Decoder):
    """A model of whole texts alone; ``texts`` says what it makes of them."""

    def __init__(
        self,
        config: Any,
        scheme: Scheme,
        tier: Tier,
        context: int,
        kv_dtype: str | None = None,
        texts: TextTask | None = None,
    ) -> None:
        super().__init__(config, scheme, tier, context, kv_dtype, texts or TextTask("embed", "mean"))
        outline, hidden, w = self.outline, config.hidden_size, WeightBuilder(scheme, tier)
        self.kinds = None
        if outline.kinds:
            self.kinds = w.matrix({outline.kinds: config.type_vocab_size}, hidden, quantized=False)
        self.embed_norm = None
        if outline.embed_norm:
            self.embed_norm, self.embed_norm_bias = w.norm(
                outline.embed_norm, hidden, bias=config.norm_biased
            )

    def _embedded(self, ops: Operations[Array]) -> Array:
        texts, body = cast(TextOperations[Array], ops), self.model
        x_TD = texts.embed(
            body.embed_tokens, scale=self.outline.scale, positions=body.positions, kinds=self.kinds
        )
        if self.embed_norm is None:
            return x_TD
        return ops.norm(x_TD, self.config.norm(self.embed_norm, self.embed_norm_bias))
