"""Has what decode's and prefill's operations share: kernels that are made once, launches named by operation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, ParamSpec

from tvm import tirx
from tvm.relax.frontend.nn import Tensor

from mlcweb.kernels.attention.rotate import rotate_heads
from mlcweb.kernels.attention.scale_heads import scale_heads
from mlcweb.kernels.choice import choose
from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.experts.shared import add_scaled
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.layouts.pieces import Matrix, SplitGateUp, pieces
from mlcweb.kernels.layouts.quantized import GroupQuantized
from mlcweb.kernels.layouts.storage import Values, WholeMatrix
from mlcweb.kernels.norms.head_norm import HeadNorm, norm_heads
from mlcweb.kernels.norms.span_norm import add_norm_of_span, norm_spans
from mlcweb.kernels.ops.launch import Stored, launch
from mlcweb.kernels.ops.memo import KernelMemo
from mlcweb.kernels.ops.protocol import Rope
from mlcweb.kernels.products.matvec import Norm
from mlcweb.kernels.products.outputs import Activation, Folded
from mlcweb.kernels.recurrent.delta_mix import delta_mix
from mlcweb.kernels.recurrent.gated_delta import GatedDelta, gated_delta
from mlcweb.kernels.recurrent.gated_delta_chunk import gated_delta_chunk

P = ParamSpec("P")


@dataclass(frozen=True)
class Target:
    """What kernels are made for, a tier and the longest context in tokens; and those made."""

    tier: Tier
    context: int
    kernels: KernelMemo = field(default_factory=KernelMemo)


@dataclass(frozen=True)
class Inputs:
    """An entry's tensors: ``state`` i32 ``[8]``, the page table, and ``tokens`` i32 ``[n]``, which decode has not.

    A model of whole texts has tokens, ``places`` i32 ``[n, 4]`` and ``texts`` i32 ``[b]``. A model that sees has
    ``images`` f32 ``[n, D]`` beside a prefill's tokens, those that are added after layers side by side. Where a
    picture's see one another, it has ``ends`` i32 ``[n]``: up to which place in the KV cache each token sees; where
    RoPE turns by them, ``axes`` i32 ``[n, 4]``. Its tower has ``patches`` f32 ``[n, P]``, their positions i32 ``[n]``
    in the place of tokens, or, in pictures of any shape, spots i32 ``[n, 4]`` in that of axes, places, and ``rows``
    i32 ``[b]``, the first patch of each row that it makes.
    """

    state: Tensor | None = None
    page_table: Tensor | None = None
    tokens: Tensor | None = None
    places: Tensor | None = None
    texts: Tensor | None = None
    images: Tensor | None = None
    ends: Tensor | None = None
    axes: Tensor | None = None
    windows: Tensor | None = None
    patches: Tensor | None = None
    rows: Tensor | None = None


class Ops:
    """What decode and prefill share."""

    phase: ClassVar[str]

    def __init__(self, target: Target, inputs: Inputs) -> None:
        self.tier, self.context = target.tier, target.context
        self.inputs, self._kernels = inputs, target.kernels

    def kernel(
        self, make: Callable[P, tirx.PrimFunc], /, *args: P.args, **options: P.kwargs
    ) -> tirx.PrimFunc:
        """``make(*args, **options)``, made once (``ops.memo``)."""
        return self._kernels(make, *args, **options)

    def launch(
        self,
        operation: str,
        kernel: tirx.PrimFunc,
        /,
        *,
        way: str = "",
        **given: Tensor | Stored | int | None,
    ) -> dict[str, Tensor]:
        """A launch of an operation such as ``qkv``, with tensors by the kernel's names; ``way``: int8 or matrix.

        Every launch of a model is emitted here, but those of sampling; ``ops.launch`` says what is returned.
        """
        return launch(f"{self.phase}_{way}" if way else self.phase, operation, kernel, given)

    def linear(
        self,
        name: str,
        x: Tensor,
        weight: Matrix | SplitGateUp,
        *,
        norm: Norm | None = None,
        bias: Values | None = None,
        activation: Activation | None = None,
        gated: bool = False,
        residual: Tensor | None = None,
        times: Tensor | None = None,
        factor: float = 1.0,
        rows: bool = False,
    ) -> Tensor:
        """As ``Operations.linear``: a launch for each piece of the weight."""
        if not isinstance(weight, SplitGateUp):
            folded, other = Folded(bias, activation=activation, gated=gated, factor=factor), residual
            if residual is not None:
                folded = replace(folded, joined="added")
            elif times is not None:
                folded, other = replace(folded, joined="multiplied"), times
            return self._product(name, x, weight, norm, folded, other, rows=rows)
        up = Folded(bias, bias_first=weight.gate.rows)
        times = self._product(f"{name}_up", x, weight.up, norm, up, None, rows=rows)
        return self.linear(
            f"{name}_gate",
            x,
            weight.gate,
            norm=norm,
            bias=bias,
            activation=activation,
            times=times,
            factor=factor,
            rows=rows,
        )

    def _product(
        self,
        name: str,
        x: Tensor,
        weight: Matrix,
        norm: Norm | None,
        folded: Folded,
        other: Tensor | None,
        *,
        rows: bool = False,
    ) -> Tensor:
        """A product with what is folded into it; ``other`` is what is joined."""
        raise NotImplementedError

    def _look_up(
        self,
        embed: Callable[..., tirx.PrimFunc],
        table: Matrix,
        name: str,
        given: dict[str, Any],
        **options: Any,
    ) -> Tensor:
        """The tokens' rows of all pieces of ``table``, by the kernel ``embed``: its ``options``, and what a launch is
        ``given``.
        """
        x, decode = None, self.phase == "decode"
        ids = self.inputs.state if decode else self.inputs.tokens
        for w, piece in pieces(table):
            kernel = self.kernel(embed, w, prefill=not decode, piece=piece, **options)
            x = self.launch(name, kernel, ids=ids, w=w, x=x, **given)["x"]
        return x

    def norm_spans(self, x: Tensor, weight: Values, epsilon: float) -> Tensor:
        """RMSNorm of each span of x ``[T, spans * W]``, of which ``weight`` has W values."""
        decode = self.phase == "decode"
        order = decode and choose.uses_block_order(self.tier)
        spans = int(x.shape[1]) // weight.columns
        kernel = self.kernel(norm_spans, weight, spans, epsilon, self.tier, decode=decode, block_order=order)
        return self.launch("norm_spans", kernel, x=x, weight=weight)["y"]

    def add_norm_of_span(
        self, x: Tensor, weight: Values, epsilon: float, other: Tensor, *, span: int, factor: float
    ) -> Tensor:
        """``other + factor * norm(x)`` of a span ``[T, W]``."""
        decode = self.phase == "decode"
        order = decode and choose.uses_block_order(self.tier)
        spans = int(x.shape[1]) // weight.columns
        kernel = self.kernel(
            add_norm_of_span, weight, spans, epsilon, factor, self.tier, decode=decode, block_order=order
        )
        return self.launch("span", kernel, x=x, weight=weight, other=other, span=span)["y"]

    def add_scaled(self, x: Tensor, scales: Tensor, residual: Tensor) -> Tensor:
        """``residual + scales[:, :1] * x``, of scales ``[T, 4]``."""
        kernel = self.kernel(add_scaled, int(x.shape[1]), decode=self.phase == "decode")
        return self.launch("add_scaled", kernel, x=x, scales=scales, residual=residual)["y"]

    def gated_delta(self, qkv: Tensor, ba: Tensor, delta: GatedDelta, recurrent: Tensor) -> Tensor:
        """The gated delta rule's ``[T, H * V]``; moves the state on."""
        tokens = {"qkv": qkv, "ba": ba, "rate": delta.rate, "shift": delta.shift}
        kept = {"state": self.inputs.state, "recurrent": recurrent}
        if self.phase == "decode":
            return self.launch("delta", self.kernel(gated_delta, delta), **tokens, **kept)["o"]
        mix = self.launch("delta_mix", self.kernel(delta_mix, delta), **tokens)["mix"]
        return self.launch("delta", self.kernel(gated_delta_chunk, delta), qkv=qkv, mix=mix, **kept)["o"]

    def rotate_heads(self, qkv: Tensor, rope: Rope, layout: HeadLayout) -> Tensor:
        """``qkv`` ``[T, (H + 2 J) * P]`` with queries and keys turned by RoPE."""
        kernel = self.kernel(rotate_heads, layout, self.context, decode=self.phase == "decode")
        given = {"qkv": qkv, "state": self.inputs.state, "rope_coarse": rope.coarse, "rope_fine": rope.fine}
        return self.launch("rotate_heads", kernel, **given)["y"]

    def scale_heads(self, x: Tensor, scales: Tensor, layout: HeadLayout) -> Tensor:
        """Heads' outputs x ``[T, H * P]``, those of each times its number of ``scales`` ``[T, H]``."""
        decode = self.phase == "decode"
        order = decode and choose.uses_block_order(self.tier)
        kernel = self.kernel(scale_heads, layout, decode=decode, block_order=order)
        return self.launch("scale_heads", kernel, x=x, scales=scales)["y"]

    def norm_heads(self, qkv: Tensor, norm: HeadNorm, layout: HeadLayout) -> Tensor:
        """``qkv`` ``[T, (H + 2 J) * P]``, or queries alone, normalized."""
        kernel = self.kernel(norm_heads, layout, norm, decode=self.phase == "decode")
        written = self.launch("norm_heads", kernel, qkv=qkv, q_weight=norm.q_weight, k_weight=norm.k_weight)
        return written["y"]


def group_quantized(weight: WholeMatrix) -> GroupQuantized:
    """``weight``. Raises ValueError for one that is not quantized, which has no products of int8 or on matrices."""
    if not isinstance(weight, GroupQuantized):
        raise ValueError("products of int8 and on subgroup matrices need group-quantized weights")
    return weight
