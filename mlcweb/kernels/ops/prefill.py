"""Launches the operations on a chunk of n tokens."""

from dataclasses import replace
from typing import Any, ClassVar

from tvm.relax.frontend.nn import Tensor

from mlcweb.kernels.attention.angles import angles
from mlcweb.kernels.attention.rope_append import rope_append, rope_queries
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.choice import choose
from mlcweb.kernels.experts.mixture import Mixture
from mlcweb.kernels.images.add import add_images
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.layouts.pieces import Matrix, pieces
from mlcweb.kernels.layouts.storage import Values, WholeMatrix
from mlcweb.kernels.ops.moe import prefill_moe
from mlcweb.kernels.ops.protocol import Rope
from mlcweb.kernels.ops.shared import Inputs, Ops, Target
from mlcweb.kernels.products.matvec import Norm, Vectors
from mlcweb.kernels.products.outputs import Folded
from mlcweb.kernels.recurrent.causal_conv import CausalConv, causal_conv, keep_inputs
from mlcweb.kernels.vocabulary.embedding import embed


class Prefill(Ops):
    """A chunk of n tokens: tiled matrix products and flash attention; only the last token's logits."""

    phase: ClassVar[str] = "prefill"

    def __init__(self, target: Target, inputs: Inputs) -> None:
        super().__init__(target, inputs)
        self._angles: dict[int, Tensor] = {}

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
        """x ``[n, D]`` of the tokens, scaled; plus learned ``positions``, of which the state has the first."""
        state, seen = self.inputs.state if positions else None, self.inputs.images if images else None
        given = {"state": state, "positions": positions, "images": seen}
        width = None if seen is None else int(seen.shape[1])
        options = {"images": images, "images_width": width}
        return self._look_up(embed, table, name, given, scale=scale, positions=positions, **options)

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
        x, y = self.norm(x, norm) if norm else x, None
        for w, piece in pieces(weight):
            kernel = self.kernel(choose.matmul, w, self.tier, folded=folded, piece=piece)
            y = self.launch(name, kernel, x=x, w=w, bias=folded.bias, residual=other, y=y)["y"]
        return y

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
            choose.normalize, norm, self.tier, residual=residual is not None, last_row=last_row, scale=scale
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
        """``[n, H * P]``, causal, or up to each token's end where there are ``ends``; appends the chunk's keys and
        values to ``kv``, if the layer has its own.
        """
        scoring, scaling = scoring.within(self.context), replace(scoring, cap=None, window=None)
        state, table = self.inputs.state, self.inputs.page_table
        given: dict[str, Any] = {"qkv": qkv, **self._turning(rope), "state": state}
        if layout.appends:
            turned = rope.sections is not None
            kernel = self.kernel(rope_append, layout, self.context, scaling, angles=turned)
            written = self.launch("rope", kernel, **given, page_table=table, kv=kv)
            queries, kv = written["queries"], written["kv"]
        else:
            queries = self.launch("rope", self.kernel(rope_queries, layout, self.context, scaling), **given)[
                "queries"
            ]
        ends = self.inputs.ends
        to_ends = ends is not None
        kernel = self.kernel(choose.flash_attention, layout, scoring, self.tier, sinks, to_ends=to_ends)
        read = {
            "queries": queries,
            "state": state,
            "page_table": table,
            "kv": kv,
            "ends": ends,
            "sinks": sinks,
        }
        return self.launch("attend", kernel, **read)["attention"]

    def _turning(self, rope: Rope) -> dict[str, Any]:
        """What a launch that turns is given: RoPE's tables, or each token's angles, which are computed once."""
        if rope.sections is None or rope.coarse is None:
            return {"rope_coarse": rope.coarse, "rope_fine": rope.fine}
        if id(rope.coarse) not in self._angles:
            kernel = self.kernel(angles, rope.coarse, rope.sections)
            given: dict[str, Any] = {
                "axes": self.inputs.axes,
                "rope_coarse": rope.coarse,
                "rope_fine": rope.fine,
            }
            self._angles[id(rope.coarse)] = self.launch("angles", kernel, **given)["angles"]
        return {"angles": self._angles[id(rope.coarse)]}

    def add_images(self, x: Tensor, part: int) -> Tensor:
        """x ``[n, D]`` with the ``part``-th of the rows behind those of pictures added, in place."""
        images = self.inputs.images
        assert images is not None, "the model sees"
        kernel = self.kernel(add_images, int(x.shape[1]), int(images.shape[1]))
        given: dict[str, Any] = {"tokens": self.inputs.tokens, "images": images}
        return self.launch("add_images", kernel, **given, x=x, part=part)["x"]

    def causal_conv(self, x: Tensor, conv: CausalConv, recurrent: Tensor) -> Tensor:
        """The convolution of the chunk's x with those before, ``[n, D]``; moves the state on."""
        kernel, state = self.kernel(causal_conv, conv), self.inputs.state
        given = {"taps": conv.taps, "bias": conv.bias, "recurrent": recurrent}
        y = self.launch("conv", kernel, x=x, state=state, **given)["y"]
        self.launch("keep", self.kernel(keep_inputs, conv), x=x, state=state, recurrent=recurrent)
        return y

    def moe(self, x: Tensor, norm: Norm, mixture: Mixture, *, residual: Tensor) -> Tensor:
        """``residual + mixture(norm(x))``, ``[n, D]``."""
        return prefill_moe(self, self.norm(x, norm), mixture, residual)

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
        own = None if norm.centered else norm
        if norm.centered:
            x = self.norm(x, norm, last_row=True)
        folded, y = Folded(bias, cap=cap, factor=factor), None
        vectors = Vectors(x_block_order=False, last_row=own is not None)
        for w, piece in pieces(weight):
            kernel = self.kernel(
                choose.matvec, w, self.tier, norm=own, folded=folded, vectors=vectors, piece=piece
            )
            y = self.launch("head", kernel, x=x, norm=own and own.weight, w=w, bias=bias, y=y)["y"]
        return y
