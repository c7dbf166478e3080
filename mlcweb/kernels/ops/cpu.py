"""Launches the operations on a CPU: products with activations rounded to int8, wherever weights are bytes of codes."""

from __future__ import annotations

from typing import ClassVar

from tvm.relax.frontend.nn import Tensor

from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.cpu import levels
from mlcweb.kernels.cpu.attention import attend
from mlcweb.kernels.cpu.embed import embed
from mlcweb.kernels.cpu.norm import normalize
from mlcweb.kernels.cpu.product import product
from mlcweb.kernels.cpu.product_int8 import product_int8
from mlcweb.kernels.cpu.rope_append import rope_append
from mlcweb.kernels.cpu.rounding import Rounded, round_rows
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.layouts.pieces import Matrix, pieces
from mlcweb.kernels.layouts.quantized import GroupQuantized
from mlcweb.kernels.layouts.storage import Values, WholeMatrix
from mlcweb.kernels.ops.protocol import Rope
from mlcweb.kernels.ops.shared import Ops
from mlcweb.kernels.products.matvec import Norm
from mlcweb.kernels.products.outputs import Folded


class _CpuOps(Ops):
    """What the CPU's decode and prefill share: all, for a count of tokens that is 1 or n."""

    @property
    def _decode(self) -> bool:
        return self.phase == "decode"

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
        images, x = images and not self._decode, None
        for w, piece in pieces(table):
            kernel = self.kernel(
                embed,
                w,
                prefill=not self._decode,
                scale=scale,
                positions=positions,
                images=images,
                piece=piece,
            )
            written = self.launch(
                name,
                kernel,
                ids=self.inputs.state if self._decode else self.inputs.tokens,
                w=w,
                state=self.inputs.state if positions and not self._decode else None,
                positions=positions,
                images=self.inputs.images if images else None,
                x=x,
            )
            x = written["x"]
        return x

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
        return self._multiply(name, x, weight, norm, folded, other)

    def _multiply(
        self,
        name: str,
        x: Tensor,
        weight: Matrix,
        norm: Norm | None,
        folded: Folded,
        other: Tensor | None = None,
        *,
        last_row: bool = False,
    ) -> Tensor:
        """A product with what is folded into it; ``last_row``: of x's last row alone."""
        one, y = self._decode or last_row, None
        if norm is not None and (norm.centered or not all(_rounds(w) for w, _ in pieces(weight))):
            x, norm, last_row = self.norm(x, norm, last_row=last_row), None, False
        rounded: dict[Rounded, dict[str, Tensor]] = {}
        for w, piece in pieces(weight):
            more = {"w": w, "bias": folded.bias, "residual": other, "y": y}
            if not isinstance(w, GroupQuantized) or not _rounds(w):
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
        given = {"norm": norm.weight, "bias": norm.bias, "residual": residual, "scale": scale}
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
        new = {"qkv": qkv, "rope_coarse": rope.coarse, "rope_fine": rope.fine, "state": inputs.state}
        cache = {"page_table": inputs.page_table, "kv": kv}
        kernel = self.kernel(rope_append, layout, self.context, scoring, decode=self._decode)
        written = self.launch("rope", kernel, **new, **(cache if layout.appends else {}))
        cache["kv"] = written.get("kv", kv)
        kernel = self.kernel(
            attend, layout, scoring, sinks, decode=self._decode, to_ends=inputs.ends is not None
        )
        read = {"queries": written["queries"], "state": inputs.state, "ends": inputs.ends, "sinks": sinks}
        return self.launch("attend", kernel, **read, **cache)["attention"]

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
        return self._multiply("head", x, weight, norm, folded, last_row=not self._decode)


class CpuPrefill(_CpuOps):
    """A chunk of n tokens; only the last token's logits."""

    phase: ClassVar[str] = "prefill"


class CpuDecode(_CpuOps):
    """One token."""

    phase: ClassVar[str] = "decode"


def _rounds(weight: WholeMatrix) -> bool:
    """Whether a weight is multiplied by x rounded to int8."""
    return isinstance(weight, GroupQuantized) and levels.reads(weight.form)
