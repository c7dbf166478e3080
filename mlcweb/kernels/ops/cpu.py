"""Launches the operations on a CPU: products with activations rounded to int8, wherever weights are bytes of codes."""

from __future__ import annotations

from typing import Any, ClassVar

from tvm.relax.frontend.nn import Tensor

from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.cpu import levels
from mlcweb.kernels.cpu.attention import attend
from mlcweb.kernels.cpu.causal_conv import causal_conv
from mlcweb.kernels.cpu.embed import embed
from mlcweb.kernels.cpu.gated_delta import gated_delta
from mlcweb.kernels.cpu.heads import norm_heads, rotate_heads, scale_heads
from mlcweb.kernels.cpu.norm import normalize
from mlcweb.kernels.cpu.pictures import add_images, angles
from mlcweb.kernels.cpu.product import product
from mlcweb.kernels.cpu.product_int8 import product_int8
from mlcweb.kernels.cpu.rope_append import rope_append
from mlcweb.kernels.cpu.rounding import Rounded, round_rows
from mlcweb.kernels.cpu.spans import add_norm_of_span, add_scaled, norm_spans
from mlcweb.kernels.experts.mixture import Mixture
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.layouts.pieces import Matrix, pieces
from mlcweb.kernels.layouts.quantized import GroupQuantized
from mlcweb.kernels.layouts.storage import Values, WholeMatrix
from mlcweb.kernels.norms.head_norm import HeadNorm
from mlcweb.kernels.ops.cpu_moe import cpu_moe
from mlcweb.kernels.ops.protocol import Rope
from mlcweb.kernels.ops.shared import Inputs, Ops, Target
from mlcweb.kernels.products.matvec import Norm
from mlcweb.kernels.products.outputs import Folded
from mlcweb.kernels.recurrent.causal_conv import CausalConv
from mlcweb.kernels.recurrent.gated_delta import GatedDelta


class _CpuOps(Ops):
    """What the CPU's decode and prefill share: all, for a count of tokens that is 1 or n."""

    def __init__(self, target: Target, inputs: Inputs) -> None:
        super().__init__(target, inputs)
        self._angles: dict[int, Tensor] = {}

    @property
    def _decode(self) -> bool:
        return self.phase == "decode"

    def _rounds(self, weight: WholeMatrix) -> bool:
        """Whether a weight is multiplied by x rounded to int8."""
        return not self.tier.floats and isinstance(weight, GroupQuantized) and levels.reads(weight.form)

    def embed(
        self,
        table: Matrix,
        *,
        name: str = "embed",
        scale: float = 1.0,
        positions: WholeMatrix | None = None,
        rows: bool = False,
        images: bool = False,
    ) -> Tensor:
        """x ``[T, D]`` of the tokens, scaled; plus learned ``positions``, of which the state has the first."""
        seen = self.inputs.images if images and not self._decode else None
        state = self.inputs.state if positions and not self._decode else None
        given = {"state": state, "positions": positions, "images": seen}
        width = None if seen is None else int(seen.shape[1])
        return self._look_up(embed, table, name, given, scale=scale, positions=positions, images=width)

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
        last_row: bool = False,
    ) -> Tensor:
        """A product with what is folded into it; ``last_row``: of x's last row alone."""
        one, y = self._decode or last_row, None
        if norm is not None and (norm.centered or not all(self._rounds(w) for w, _ in pieces(weight))):
            x, norm, last_row = self.norm(x, norm, last_row=last_row), None, False
        rounded: dict[Rounded, dict[str, Tensor]] = {}
        for w, piece in pieces(weight):
            more: dict[str, Any] = {"w": w, "bias": folded.bias, "residual": other, "y": y}
            if not isinstance(w, GroupQuantized) or not self._rounds(w):
                kernel = self.kernel(product, w, folded=folded, decode=one, piece=piece)
                y = self.launch(name, kernel, x=x, **more)["y"]
                continue
            how = Rounded.of(w.form, self.tier.relaxed)
            if how not in rounded:
                rounded[how] = self._rounded(name, x, norm, how, last_row)
            kernel = self.kernel(
                product_int8, w, relaxed=self.tier.relaxed, folded=folded, decode=one, piece=piece
            )
            y = self.launch(name, kernel, **rounded[how], **more)["y"]
        return y

    def _rounded(
        self, name: str, x: Tensor, norm: Norm | None, how: Rounded, last_row: bool
    ) -> dict[str, Tensor]:
        """x, or its last row, as codes, scales and sums."""
        width = int(x.shape[1])
        kernel = self.kernel(round_rows, width, how, norm=norm, decode=self._decode, last_row=last_row)
        operation = "norm" if norm else f"round_{name}"
        return self.launch(operation, kernel, x=x, norm=norm.weight if norm else None)

    def norm(
        self,
        x: Tensor,
        norm: Norm,
        *,
        residual: Tensor | None = None,
        scale: Values | None = None,
        last_row: bool = False,
    ) -> Tensor:
        """``norm(x)``, or ``residual + norm(x)``, times ``scale``, if there is one; of the last token only if
        ``last_row``.
        """
        kernel = self.kernel(
            normalize,
            norm,
            decode=self._decode,
            residual=residual is not None,
            last_row=last_row,
            scale=scale,
        )
        given: dict[str, Any] = {"norm": norm.weight, "bias": norm.bias, "residual": residual, "scale": scale}
        return self.launch("norm", kernel, x=x, **given)["y"]

    def attention(
        self,
        qkv: Tensor,
        rope: Rope,
        kv: Tensor,
        scoring: Scoring,
        layout: HeadLayout,
        sinks: Values | None = None,
    ) -> Tensor:
        """``[T, H * P]``, causal, or up to each token's end where there are ``ends``; appends the tokens' keys and
        values to ``kv``, if the layer has its own.
        """
        scoring, inputs = scoring.within(self.context), self.inputs
        several = rope.sections is not None
        new = {"qkv": qkv, "state": inputs.state, **self._turning(rope)}
        cache = {"page_table": inputs.page_table, "kv": kv}
        kernel = self.kernel(
            rope_append,
            layout,
            self.context,
            scoring,
            decode=self._decode,
            angles=several and not self._decode,
            shifted=several and self._decode,
        )
        written = self.launch("rope", kernel, **new, **(cache if layout.appends else {}))
        cache["kv"] = written.get("kv", kv)
        kernel = self.kernel(
            attend, layout, scoring, sinks, decode=self._decode, to_ends=inputs.ends is not None
        )
        read = {"queries": written["queries"], "state": inputs.state, "ends": inputs.ends, "sinks": sinks}
        return self.launch("attend", kernel, **read, **cache)["attention"]

    def _turning(self, rope: Rope) -> dict[str, Any]:
        """What a launch that turns is given: RoPE's tables, or each token's angles, which are computed once."""
        tables: dict[str, Any] = {"rope_coarse": rope.coarse, "rope_fine": rope.fine}
        if rope.sections is None or rope.coarse is None or self._decode:
            return tables
        if id(rope.coarse) not in self._angles:
            kernel = self.kernel(angles, rope.coarse, rope.sections)
            made = self.launch("angles", kernel, axes=self.inputs.axes, **tables)
            self._angles[id(rope.coarse)] = made["angles"]
        return {"angles": self._angles[id(rope.coarse)]}

    def add_images(self, x: Tensor, part: int) -> Tensor:
        """x ``[T, D]``, plus the ``part``-th of the rows behind those of pictures, in place; none are decoded."""
        images = self.inputs.images
        if self._decode or images is None:
            return x
        kernel = self.kernel(add_images, int(x.shape[1]), int(images.shape[1]))
        return self.launch("add_images", kernel, tokens=self.inputs.tokens, images=images, x=x, part=part)[
            "x"
        ]

    def rotate_heads(self, qkv: Tensor, rope: Rope, layout: HeadLayout) -> Tensor:
        """``qkv`` ``[T, (H + 2 J) * P]`` with queries and keys turned by RoPE."""
        kernel = self.kernel(rotate_heads, layout, self.context, decode=self._decode)
        given = {"qkv": qkv, "state": self.inputs.state, "rope_coarse": rope.coarse, "rope_fine": rope.fine}
        return self.launch("rotate_heads", kernel, **given)["y"]

    def norm_heads(self, qkv: Tensor, norm: HeadNorm, layout: HeadLayout) -> Tensor:
        """``qkv`` ``[T, (H + 2 J) * P]``, or queries alone, normalized."""
        kernel = self.kernel(norm_heads, layout, norm, decode=self._decode)
        given: dict[str, Any] = {"q_weight": norm.q_weight, "k_weight": norm.k_weight}
        return self.launch("norm_heads", kernel, qkv=qkv, **given)["y"]

    def scale_heads(self, x: Tensor, scales: Tensor, layout: HeadLayout) -> Tensor:
        """Heads' outputs x ``[T, H * P]``, those of each times its number of ``scales`` ``[T, H]``."""
        kernel = self.kernel(scale_heads, layout, decode=self._decode)
        return self.launch("scale_heads", kernel, x=x, scales=scales)["y"]

    def norm_spans(self, x: Tensor, weight: Values, epsilon: float) -> Tensor:
        """RMSNorm of each span of x ``[T, spans * W]``, of which ``weight`` has W values."""
        spans = int(x.shape[1]) // weight.columns
        kernel = self.kernel(norm_spans, weight, spans, epsilon, decode=self._decode)
        return self.launch("norm_spans", kernel, x=x, weight=weight)["y"]

    def add_norm_of_span(
        self, x: Tensor, weight: Values, epsilon: float, other: Tensor, *, span: int, factor: float
    ) -> Tensor:
        """``other + factor * norm(x)`` of a span ``[T, W]``."""
        spans = int(x.shape[1]) // weight.columns
        kernel = self.kernel(add_norm_of_span, weight, spans, epsilon, factor, decode=self._decode)
        return self.launch("span", kernel, x=x, weight=weight, other=other, span=span)["y"]

    def add_scaled(self, x: Tensor, scales: Tensor, residual: Tensor) -> Tensor:
        """``residual + scales[:, :1] * x``, of scales ``[T, 4]``."""
        kernel = self.kernel(add_scaled, int(x.shape[1]), decode=self._decode)
        return self.launch("add_scaled", kernel, x=x, scales=scales, residual=residual)["y"]

    def causal_conv(self, x: Tensor, conv: CausalConv, recurrent: Tensor) -> Tensor:
        """The convolution of the tokens' x with those before, ``[T, D]``; moves the state on."""
        given = {"taps": conv.taps, "bias": conv.bias, "state": self.inputs.state, "recurrent": recurrent}
        kernel = self.kernel(causal_conv, conv, decode=self._decode)
        return self.launch("conv", kernel, x=x, **given)["y"]

    def gated_delta(self, qkv: Tensor, ba: Tensor, delta: GatedDelta, recurrent: Tensor) -> Tensor:
        """The gated delta rule's ``[T, H * V]``; moves the state on."""
        given = {"rate": delta.rate, "shift": delta.shift, "state": self.inputs.state, "recurrent": recurrent}
        kernel = self.kernel(gated_delta, delta, decode=self._decode)
        return self.launch("delta", kernel, qkv=qkv, ba=ba, **given)["o"]

    def moe(self, x: Tensor, norm: Norm, mixture: Mixture, *, residual: Tensor) -> Tensor:
        """``residual + mixture(norm(x))``, ``[T, D]``."""

        def rounded(operation: str, x: Tensor, how: Rounded) -> dict[str, Tensor]:
            kernel = self.kernel(round_rows, int(x.shape[1]), how)
            return self.launch(operation, kernel, x=x)

        return cpu_moe(
            self,
            self.norm(x, norm),
            mixture,
            residual,
            decode=self._decode,
            rounds=self._rounds,
            rounded=rounded,
        )

    def head(
        self,
        x: Tensor,
        norm: Norm,
        weight: Matrix,
        *,
        bias: Values | None = None,
        cap: float | None = None,
        factor: float = 1.0,
    ) -> Tensor:
        """Logits ``[1, V]`` of the last token, soft-capped if ``cap``, times ``factor``."""
        folded = Folded(bias, cap=cap, factor=factor)
        return self._product("head", x, weight, norm, folded, None, last_row=not self._decode)


class CpuPrefill(_CpuOps):
    """A chunk of n tokens; only the last token's logits."""

    phase: ClassVar[str] = "prefill"


class CpuDecode(_CpuOps):
    """One token."""

    phase: ClassVar[str] = "decode"
