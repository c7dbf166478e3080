"""``Operations`` is what a model's ``forward`` may call, on a GPU's tensors or on arrays of the host.

``Decode``, ``Prefill`` and its variants launch kernels; ``reference.ops.HostOps`` computes. Each knows the tokens it
is for, the position of the first of them, and the pages of the KV cache.
"""

from dataclasses import dataclass
from typing import Protocol, TypeVar

from tvm.relax.frontend.nn import Tensor

from mlcweb.contract.constants import Pooling
from mlcweb.kernels.attention.angles import Sections
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.experts.mixture import Mixture
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.layouts.pieces import Matrix, SplitGateUp
from mlcweb.kernels.layouts.storage import Values, WholeMatrix
from mlcweb.kernels.norms.head_norm import HeadNorm
from mlcweb.kernels.products.matvec import Norm
from mlcweb.kernels.products.outputs import Activation
from mlcweb.kernels.recurrent.causal_conv import CausalConv
from mlcweb.kernels.recurrent.gated_delta import GatedDelta

Array = TypeVar("Array")  # what activations are: tensors of the frontend, or numpy's arrays


@dataclass(frozen=True)
class Rope:
    """RoPE's tables, as parameters of the model; one that does not turn leaves queries and keys as they are, and has
    none where nobody reads them. With ``sections`` a token has places along several axes.
    """

    coarse: Values | None
    fine: Values | None
    turns: bool = True
    sections: Sections | None = None


class Operations(Protocol[Array]):
    """Activations are float32 ``[T, …]``: T is 1 in decode, n in prefill, and however many tokens the host is fed."""

    def embed(
        self,
        table: Matrix,
        *,
        name: str = "embed",
        scale: float = 1.0,
        positions: WholeMatrix | None = None,
        rows: bool = False,
        images: bool = False,
    ) -> Array:
        """x ``[T, D]``: the tokens' rows of ``table``, scaled; plus their learned positions, if there are any.
        ``rows``: for an operation that reads decode's inputs in their own order. ``images``: a token below 0 stands
        for a row of a picture, which is in its place.
        """

    def add_images(self, x: Array, part: int) -> Array:
        """x ``[T, D]``; where a token stands for a row of a picture, plus the ``part``-th of those behind the row."""

    def linear(
        self,
        name: str,
        x: Array,
        weight: Matrix | SplitGateUp,
        *,
        norm: Norm | None = None,
        bias: Values | None = None,
        activation: Activation | None = None,
        gated: bool = False,
        residual: Array | None = None,
        times: Array | None = None,
        factor: float = 1.0,
        rows: bool = False,
    ) -> Array:
        """``residual + factor * activation(linear(norm(x)) + bias)``, or ``times`` that; ``gated``: the weight is gate
        over up, and activation(gate) * up is in the activation's place. ``rows``: for attention, which reads decode's
        outputs in their own order.
        """

    def norm(
        self, x: Array, norm: Norm, *, residual: Array | None = None, scale: Values | None = None
    ) -> Array:
        """``norm(x)``, or ``residual + norm(x)``; times the one value of ``scale``, if there is one."""

    def rotate_heads(self, qkv: Array, rope: Rope, layout: HeadLayout) -> Array:
        """``qkv`` ``[T, (H + 2 J) * P]`` with queries and keys turned by RoPE."""

    def norm_heads(self, qkv: Array, norm: HeadNorm, layout: HeadLayout) -> Array:
        """``qkv`` ``[T, (H + 2 J) * P]``, or queries alone, normalized."""

    def attention(
        self,
        qkv: Array,
        rope: Rope,
        kv: Tensor,
        scoring: Scoring,
        layout: HeadLayout,
        sinks: Values | None = None,
    ) -> Array:
        """``[T, H * P]``, causal; appends the tokens' keys and values, if the layer has its own, to ``kv``, pages.

        ``sinks`` ``[1, H]``: one more score of each head's softmax, without a value.
        """

    def scale_heads(self, x: Array, scales: Array, layout: HeadLayout) -> Array:
        """Heads' outputs x ``[T, H * P]``, those of each times its number of ``scales`` ``[T, H]``."""

    def norm_spans(self, x: Array, weight: Values, epsilon: float) -> Array:
        """RMSNorm of each span of x that is as wide as ``weight``."""

    def add_norm_of_span(
        self, x: Array, weight: Values, epsilon: float, other: Array, *, span: int, factor: float
    ) -> Array:
        """``other + factor * norm(x)``, of the one span ``[T, W]`` of both: ``norm_spans`` of a span alone."""

    def gated_delta(self, qkv: Array, ba: Array, delta: GatedDelta, recurrent: Tensor) -> Array:
        """The gated delta rule's ``[T, H * V]``; moves the state on."""

    def causal_conv(self, x: Array, conv: CausalConv, recurrent: Tensor) -> Array:
        """The convolution of x ``[T, D]`` or ``[T, 3 D]`` along the tokens, ``[T, D]``; moves the state on."""

    def moe(self, x: Array, norm: Norm, mixture: Mixture, *, residual: Array) -> Array:
        """``residual + mixture(norm(x))``, ``[T, D]``."""

    def add_scaled(self, x: Array, scales: Array, residual: Array) -> Array:
        """``residual + scales[:, :1] * x``, ``[T, D]``, of scales ``[T, 4]``."""

    def head(
        self,
        x: Array,
        norm: Norm,
        weight: Matrix,
        *,
        bias: Values | None = None,
        cap: float | None = None,
        factor: float = 1.0,
    ) -> Array:
        """Logits ``[1, V]`` of the last token, soft-capped if ``cap``, times ``factor``."""


class TextOperations(Operations[Array], Protocol[Array]):
    """What a model of whole texts may call besides: the tokens are those of b texts side by side."""

    def embed(
        self,
        table: Matrix,
        *,
        name: str = "embed",
        scale: float = 1.0,
        positions: WholeMatrix | None = None,
        rows: bool = False,
        images: bool = False,
        kinds: WholeMatrix | None = None,
    ) -> Array:
        """As ``Operations.embed``, plus a row of ``kinds`` for each token's type."""

    def pool(self, x: Array, pooling: Pooling) -> Array:
        """``[b, D]``: of each text's rows of x ``[n, D]`` the mean, the first (``cls``) or the last."""

    def unit(self, x: Array) -> Array:
        """x ``[b, D]``, each row of length 1."""

    def score(self, x: Array, weight: WholeMatrix, bias: Values | None) -> Array:
        """``[b, 1]``: x ``[b, D]`` times the last row of ``weight``, less x times its first if it has two."""


class ImageOperations(TextOperations[Array], Protocol[Array]):
    """What a vision tower may call besides: the tokens are patches of b rows, and their ids are positions in a tile,
    or they have ``spots`` in a picture of any shape.
    """

    def patches(self) -> Array:
        """The patches' normalized pixels ``[n, P]``."""

    def merge(self, x: Array, count: int) -> Array:
        """``[b, count * D]``: ``count`` neighbours of x ``[n, D]`` side by side."""

    def mean(self, x: Array, count: int) -> Array:
        """``[b, D]``: the mean of ``count`` neighbours of x ``[n, D]``."""

    def spread(self, table: WholeMatrix) -> Array:
        """``[n, D]``: of a square of learned positions, ``table``, spread over the picture, what is at each patch."""

    def beside(self, x: Array, part: int, count: int, rows: Array | None) -> Array:
        """``rows`` ``[b, count * D]`` with x ``[b, D]`` as their ``part``-th; ``rows`` are made by the first call."""
