"""Has what the architectures share: the sizes in a config, and the decoder around its layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic

import numpy as np
import numpy.typing as npt
from tvm.relax.frontend import nn

from mlcweb.errors import CheckpointError
from mlcweb.kernels.choice.tier import BASE, Tier
from mlcweb.kernels.layouts.kv_cache import PAGE_SIZE, HeadLayout, kv_storage, rope_tables
from mlcweb.kernels.layouts.storage import Vector
from mlcweb.kernels.ops import Array, Operations, Rope
from mlcweb.kernels.ops.emitted import in_layer
from mlcweb.kernels.products.matvec import Norm
from mlcweb.models.parts.fields import Fields, multiple_of
from mlcweb.models.parts.rope import RopeSettings
from mlcweb.models.parts.text_head import TextHead, TextTask
from mlcweb.models.parts.weights import WeightBuilder, declared, origin
from mlcweb.quantize import Param, Scheme, get_scheme

if TYPE_CHECKING:
    from mlcweb.models.parts.image_rows import ImageRows
    from mlcweb.models.parts.vision import ImageWords
    from mlcweb.models.parts.vision_picture import PictureRows


@dataclass(frozen=True)
class DecoderConfig:
    """An architecture's numbers, named as in config.json. ``ropes`` are the ways its layers turn queries and keys."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    norm_eps: float
    tie_word_embeddings: bool
    ropes: tuple[RopeSettings, ...]

    centered: ClassVar[bool] = False  # the norms are LayerNorms, with biases, not RMSNorms
    mixture: ClassVar[bool] = False  # of experts
    alike: ClassVar[bool] = True  # a layer's weights are as many as another's
    learned_positions: ClassVar[bool] = False  # a row for each of max_position_embeddings

    @classmethod
    def sizes(cls, fields: Fields, *, tied: bool = False, cached: bool = True) -> dict[str, Any]:
        """The keys that most architectures name alike, without ``norm_eps`` and ``ropes``.

        Raises CheckpointError for a missing or odd value, UnsupportedError for sizes that no kernel takes.
        """
        heads, hidden = fields.count("num_attention_heads"), fields.count("hidden_size")
        sizes = {
            "vocab_size": fields.count("vocab_size"),
            "hidden_size": hidden,
            "intermediate_size": fields.count("intermediate_size"),
            "num_hidden_layers": fields.count("num_hidden_layers"),
            "num_attention_heads": heads,
            "num_key_value_heads": fields.count("num_key_value_heads", heads),
            "head_dim": fields.count("head_dim", max(hidden // heads, 1)),
            "max_position_embeddings": fields.count("max_position_embeddings"),
            "tie_word_embeddings": fields.flag("tie_word_embeddings", tied),
        }
        check_sizes(sizes, cached=cached)
        return sizes

    @property
    def longest_context(self) -> int:
        """Tokens that the model's positions are made for."""
        return max(self.max_position_embeddings, min(rope.longest_context for rope in self.ropes))

    @property
    def query_width(self) -> int:
        """Outputs of the query projection, and inputs of attention's output projection."""
        return self.num_attention_heads * self.head_dim

    @property
    def key_width(self) -> int:
        """Outputs of the key, or the value, projection."""
        return self.num_key_value_heads * self.head_dim

    @property
    def ahead(self) -> bool:
        """Whether tokens see those after them, so that the model makes no answers, only embeddings of whole texts."""
        return False

    @property
    def norm_biased(self) -> bool:
        """Whether the norms have biases, as LayerNorms mostly do."""
        return self.centered

    def norm(self, weight: Vector, bias: Vector | None = None) -> Norm:
        """A norm with the model's epsilon."""
        return Norm(weight, self.norm_eps, self.centered, bias)

    def layout(self, context: int, storage: str) -> HeadLayout:
        """The KV cache for ``context`` tokens, of words of the dtype ``storage``."""
        pages = -(-context // PAGE_SIZE)
        return HeadLayout(self.num_attention_heads, self.num_key_value_heads, self.head_dim, pages, storage)


def check_sizes(sizes: dict[str, Any], *, cached: bool = True) -> None:
    """Raise UnsupportedError for sizes that no kernel takes, CheckpointError for those that no model has; ``cached``:
    heads have a KV cache.
    """
    for key, divisor in (("hidden_size", 4), ("intermediate_size", 4), ("head_dim", 16 if cached else 4)):
        multiple_of(key, sizes[key], divisor)
    heads, kv_heads = sizes["num_attention_heads"], sizes["num_key_value_heads"]
    if heads % kv_heads:
        raise CheckpointError(
            f"config.json: {heads} attention heads do not divide into {kv_heads} key-value heads"
        )


@dataclass(frozen=True)
class Outline:
    """What is around the layers, by the checkpoint's names."""

    embed: str = "model.embed_tokens.weight"
    embed_norm: str | None = None
    norm: str | None = "model.norm"
    head: str = "lm_head.weight"
    norm_plus: float = 0.0
    head_bias: str | None = None
    positions: str | None = None  # learned ones
    kinds: str | None = None  # of tokens, as in the two texts of a pair
    scale: float = 1.0  # of embeddings
    cap: float | None = None  # of logits
    factor: float = 1.0  # of logits


@dataclass(frozen=True)
class Step(Generic[Array]):
    """What a layer has besides its input; ``own`` is what the model makes for a layer alone, by its index."""

    ops: Operations[Array]
    ropes: tuple[Rope, ...]
    own: Callable[[int], Array] | None = None


class _Body(nn.Module):
    def __init__(self, decoder: Decoder, config: Any, w: WeightBuilder, layout: HeadLayout) -> None:
        outline, hidden = decoder.outline, config.hidden_size
        self.embed_tokens = w.matrix({outline.embed: config.vocab_size}, hidden, vocab=True)
        self.positions = None
        if outline.positions:
            longest = config.max_position_embeddings
            self.positions = w.matrix({outline.positions: longest}, hidden, quantized=False)
        self.layers = nn.ModuleList(
            [decoder.layer(config, w, layout, i) for i in range(config.num_hidden_layers)]
        )
        plus, bias = outline.norm_plus, config.norm_biased
        self.norm = None
        if outline.norm:
            self.norm, self.norm_bias = w.norm(outline.norm, hidden, bias=bias, plus=plus)


class RopeTables(nn.Module):
    """The tables of one of a model's RoPEs. Where nothing turns, only a prefill that appends to a KV cache reads them:
    a model of whole ``texts`` has none then.
    """

    def __init__(self, settings: RopeSettings, context: int, w: WeightBuilder, *, texts: bool) -> None:
        self.turns, self.sections = settings.dims > 0, settings.sections
        self.coarse = self.fine = None
        if texts and not self.turns:
            return
        frequencies, scale = settings.pair_frequencies(context)
        coarse, fine = rope_tables(frequencies, context, scale)
        self.coarse, self.fine = w.computed(coarse), w.computed(fine)

    @property
    def rope(self) -> Rope:
        """What an operation that turns is given."""
        return Rope(self.coarse, self.fine, self.turns, self.sections)


class Decoder(nn.Module):
    """A model for one tier; ``forward`` serves decode, prefill and the host reference alike.

    An architecture gives ``outline`` and ``layer``. ``kv_dtype`` is the type of the KV cache's elements, float16 or
    float32; None takes the tier's. With ``texts`` the model makes that of whole texts, and no logits.
    """

    prefix: ClassVar[str] = "model."  # of the base model's tensors; some checkpoints leave it out
    image_words: ClassVar[ImageWords | None] = None  # of models that see

    def __init__(
        self,
        config: Any,
        scheme: Scheme,
        tier: Tier,
        context: int,
        kv_dtype: str | None = None,
        texts: TextTask | None = None,
    ) -> None:
        w = WeightBuilder(scheme, tier)
        self.config, self.outline = config, self.make_outline(config)
        self.layout = config.layout(context, kv_storage(kv_dtype or tier.kv_dtype, tier))
        self.model = _Body(self, config, w, self.layout)
        ropes = [RopeTables(rope, context, w, texts=texts is not None) for rope in config.ropes[:2]]
        self.rope, self.local_rope = ropes[0], ropes[1] if len(ropes) > 1 else None
        self.text_head = TextHead(texts, w, config.hidden_size, self.head_source) if texts else None
        if not config.tie_word_embeddings and texts is None:
            self.lm_head = w.matrix({self.outline.head: config.vocab_size}, config.hidden_size, vocab=True)
        self.context = context
        self.images = None if texts else self.image_rows(config, WeightBuilder(scheme, tier, "tower"))
        name = self.outline.head_bias
        self.lm_head_bias = w.row({name: (config.vocab_size,)}) if name and texts is None else None

    def make_outline(self, config: Any) -> Outline:
        """What is around the layers."""
        return Outline()

    @classmethod
    def scorer(cls, config: Any) -> TextTask:
        """What the architecture's class for sequence classification makes of a text, with one label."""
        return TextTask("score", "last", scorer="score")

    def image_rows(self, config: Any, w: WeightBuilder) -> ImageRows | PictureRows | None:
        """What makes rows of pictures, for a model that sees."""
        return None

    def layer(self, config: Any, w: WeightBuilder, layout: HeadLayout, index: int) -> nn.Module:
        """Layer ``index``, called with (step, x)."""
        raise NotImplementedError

    def own(self, ops: Operations[Array], x_TD: Array) -> Callable[[int], Array] | None:
        """What is made for each layer alone, of the tokens and their embedding ``x_TD``."""
        return None

    def shared_kv(self) -> list[nn.Parameter]:
        """The KV caches that layers after their own read."""
        return []

    def unused(self) -> list[str]:
        """Tensors that checkpoints have, and the model does not read; patterns have ``*``."""
        return [self.outline.head] if self.config.tie_word_embeddings or self.text_head else []

    def forward(self, ops: Operations[Array]) -> Array:
        """Logits ``[1, V]`` of the last of the tokens that ``ops`` is for, or what the model makes of whole texts."""
        x_TD, body, outline = self._hidden(ops), self.model, self.outline
        norm = None if body.norm is None else self.config.norm(body.norm, body.norm_bias)
        if self.text_head is not None:
            made: Array = self.text_head(ops, x_TD if norm is None else ops.norm(x_TD, norm))
            return made
        assert norm is not None, "only a model of whole texts may end without a norm"
        head = body.embed_tokens if self.config.tie_word_embeddings else self.lm_head
        return ops.head(x_TD, norm, head, bias=self.lm_head_bias, cap=outline.cap, factor=outline.factor)

    def _hidden(self, ops: Operations[Array]) -> Array:
        """x ``[T, D]`` after the last layer."""
        x_TD = self._embedded(ops)
        ropes = tuple(table.rope for table in self.rope_tables)
        step = Step(ops, ropes, self.own(ops, x_TD))
        added = self.images.added if self.images else 0
        for index, layer in enumerate(self.model.layers):
            with in_layer(index):
                x_TD = layer(step, x_TD)
                x_TD = ops.add_images(x_TD, index + 1) if index < added else x_TD
        return x_TD

    def _embedded(self, ops: Operations[Array]) -> Array:
        """x ``[T, D]`` before the first layer."""
        body = self.model
        seen = self.images is not None
        return ops.embed(body.embed_tokens, scale=self.outline.scale, positions=body.positions, images=seen)

    @property
    def head_source(self) -> tuple[str, int]:
        """The checkpoint's tensor that makes logits, and its rows."""
        tied = self.config.tie_word_embeddings
        return self.outline.embed if tied else self.outline.head, self.config.vocab_size

    @property
    def rope_tables(self) -> list[RopeTables]:
        """Tables of each of the config's ``ropes``."""
        return [self.rope, self.local_rope] if self.local_rope else [self.rope]

    def turning(self) -> list[tuple[RopeTables, RopeSettings]]:
        """All tables with what they are of, a tower's too."""
        own = list(zip(self.rope_tables, self.config.ropes, strict=True))
        return own + (self.images.turning() if self.images else [])

    def params(self) -> list[Param]:
        """The model's weights, and the checkpoint tensors each is made of."""
        return [origin(w).param(name) for name, w in declared(self) if origin(w).computed is None]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The checkpoint tensors that ``params`` needs, with their shapes."""
        return {name: shape for _, w in declared(self) for name, shape in origin(w).sources.items()}

    def states(self) -> list[tuple[str, nn.Parameter]]:
        """What layers keep of the tokens before, by name: ``.kv``, pages of the KV cache, and ``.recurrent_…``."""
        named = self.named_parameters()
        return [(name, p) for name, p in named if name.rpartition(".")[2].startswith(("kv", "recurrent_"))]

    def constants(self) -> dict[str, npt.NDArray[np.float32]]:
        """Tensors of the bundle that no checkpoint has: RoPE's tables."""
        arrays = ((name, origin(w).computed) for name, w in declared(self))
        return {f"{name}.weight": array for name, array in arrays if array is not None}

    @property
    def weight_count(self) -> int:
        """Weights of the model, a tied head counted once."""
        return sum(int(np.prod(shape)) for shape in self.shapes().values())


def declare_model(
    model: type[Decoder],
    config: DecoderConfig,
    scheme: str = "q0f32",
    context: int = 64,
    texts: TextTask | None = None,
) -> Decoder:
    """A model without a device, to ask for its weights: ``params``, ``shapes``, ``constants``."""
    return model(config, get_scheme(scheme), BASE, context, texts=texts)
