"""Launches the operations on one token."""

from typing import ClassVar

from tvm.relax.frontend.nn import Tensor

from mlcweb.kernels.attention.rope_append import append
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.choice import choose
from mlcweb.kernels.experts.mixture import Mixture
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.layouts.pieces import Matrix, pieces
from mlcweb.kernels.layouts.storage import Values, WholeMatrix
from mlcweb.kernels.ops.moe import decode_moe
from mlcweb.kernels.ops.protocol import Rope
from mlcweb.kernels.ops.shared import Ops
from mlcweb.kernels.products.matvec import Norm, Vectors
from mlcweb.kernels.products.outputs import Folded
from mlcweb.kernels.recurrent.causal_conv import CausalConv, causal_conv
from mlcweb.kernels.vocabulary.embedding import embed


class Decode(Ops):
    """One token: matrix-vector products with norm, SwiGLU and residual folded in; split attention."""

    phase: ClassVar[str] = "decode"

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
        """x ``[1, D]`` of the token in the state, scaled; plus its learned position, if there are ``positions``. What
        is decoded is no picture.
        """
        order = choose.uses_block_order(self.tier) and not rows
        given = {"positions": positions}
        return self._look_up(embed, table, name, given, block_order=order, scale=scale, positions=positions)

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
        if norm is not None and norm.centered:
            x, norm = self.norm(x, norm), None
        vectors, y = Vectors(y_block_order=not rows), None
        for w, piece in pieces(weight):
            kernel = self.kernel(
                choose.matvec, w, self.tier, norm=norm, folded=folded, vectors=vectors, piece=piece
            )
            scale = norm.weight if norm else None
            written = self.launch(name, kernel, x=x, norm=scale, w=w, bias=folded.bias, residual=other, y=y)
            y = written["y"]
        return y

    def norm(
        self, x: Tensor, norm: Norm, *, residual: Tensor | None = None, scale: Values | None = None
    ) -> Tensor:
        """``norm(x)``, or ``residual + norm(x)``; times ``scale``, if there is one."""
        kernel = self.kernel(
            choose.normalize, norm, self.tier, decode=True, residual=residual is not None, scale=scale
        )
        written = self.launch(
            "norm", kernel, x=x, norm=norm.weight, bias=norm.bias, residual=residual, scale=scale
        )
        return written["y"]

    def attention(
        self,
        qkv: Tensor,
        rope: Rope,
        kv: Tensor,
        scoring: Scoring,
        layout: HeadLayout,
        sinks: Values | None = None,
    ) -> Tensor:
        """``[1, H * P]``; appends the token's key and value to ``kv``, if the layer has its own."""
        scoring, shifted = scoring.within(self.context), rope.sections is not None
        given = {
            "qkv": qkv,
            "rope_coarse": rope.coarse,
            "rope_fine": rope.fine,
            "state": self.inputs.state,
            "page_table": self.inputs.page_table,
        }
        if choose.appends_before(layout, self.tier):
            kernel = self.kernel(append, layout, self.context, shifted=shifted)
            kv = self.launch("append", kernel, **given, kv=kv)["kv"]
        attend = self.kernel(choose.attend, layout, self.context, scoring, self.tier, shifted=shifted)
        partial = self.launch("attend", attend, **given, kv=kv)["partial"]
        merge = self.kernel(choose.merge, layout, self.tier, sinks)
        return self.launch("merge", merge, partial=partial, sinks=sinks)["attention"]

    def add_images(self, x: Tensor, part: int) -> Tensor:
        """x: what is decoded is no picture."""
        return x

    def causal_conv(self, x: Tensor, conv: CausalConv, recurrent: Tensor) -> Tensor:
        """The convolution of the token's x with those before, ``[1, D]``; moves the state on."""
        order = choose.uses_block_order(self.tier) and conv.gated
        kernel = self.kernel(causal_conv, conv, decode=True, block_order=order)
        given = {"x": x, "taps": conv.taps, "bias": conv.bias, "state": self.inputs.state}
        return self.launch("conv", kernel, **given, recurrent=recurrent)["y"]

    def moe(self, x: Tensor, norm: Norm, mixture: Mixture, *, residual: Tensor) -> Tensor:
        """``residual + mixture(norm(x))``, ``[1, D]``."""
        return decode_moe(self, x, norm, mixture, residual)

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
        return self._product("head", x, weight, norm, Folded(bias, cap=cap, factor=factor), None, rows=True)
