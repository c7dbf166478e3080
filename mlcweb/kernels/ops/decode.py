"""Operations on one token."""

from tvm.relax.frontend.nn import Tensor, op

from mlcweb.kernels.attention.scores import Scores
from mlcweb.kernels.choice import choose
from mlcweb.kernels.choice.reads import reads_window
from mlcweb.kernels.experts.launches import Mixture, MoeLaunches
from mlcweb.kernels.layouts.pieces import Matrix
from mlcweb.kernels.layouts.storage import Values, WholeMatrix
from mlcweb.kernels.norms.head_norm import HeadNorm
from mlcweb.kernels.ops.protocol import Rope
from mlcweb.kernels.ops.shared import Folded, Ops, norm_key
from mlcweb.kernels.products.matvec import Norm
from mlcweb.kernels.vocabulary.embedding import embed


class Decode(Ops):
    """One token: matrix-vector products with norm, SwiGLU and residual folded in; split attention."""

    def embed(self, table: Matrix, *, scale: float = 1.0, positions: WholeMatrix | None = None) -> Tensor:
        """x ``[1, D]`` of the token in the state, scaled; plus its learned position, if there are ``positions``."""
        learned = positions.tensors if positions else []
        return self._launch(
            "decode_embed",
            table,
            "embed",
            lambda part, piece: embed(
                part,
                prefill=False,
                to_blocks=choose.in_blocks(self.tier),
                scale=scale,
                positions=positions,
                piece=piece,
            ),
            lambda part: [self.inputs.state, *part.tensors, *learned],
            Tensor.placeholder((1, table.columns), "float32"),
        )

    def _product(
        self, name: str, x: Tensor, weight: Matrix, norm: Norm | None, folded: Folded, *, rows: bool = False
    ) -> Tensor:
        if norm is not None and norm.centered:
            x, norm = self.norm(x, norm), None
        norms = norm.tensors if norm else []
        return self._launch(
            f"decode_{name}",
            weight,
            (name, norm_key(norm), folded.key, rows),
            lambda part, piece: choose.matvec(
                part,
                self.tier,
                norm=norm,
                **folded.options,
                cap=folded.cap,
                to_blocks=not rows,
                piece=piece,
            ),
            lambda part: [x, *norms, *part.tensors, *folded.tensors],
            Tensor.placeholder((1, folded.outputs(weight)), "float32"),
        )

    def norm(self, x: Tensor, norm: Norm, *, residual: Tensor | None = None) -> Tensor:
        """``norm(x)``, or ``residual + norm(x)``."""
        func = self._once(
            ("norm", norm_key(norm), residual is None),
            lambda: choose.normalize(norm, self.tier, decode=True, residual=residual is not None),
        )
        args = [x, *norm.tensors, *([] if residual is None else [residual])]
        return op.tensor_ir_op(func, "decode_norm", args, Tensor.placeholder(x.shape, "float32"))

    def norm_heads(self, qkv: Tensor, norm: HeadNorm) -> Tensor:
        """``qkv`` ``[1, (H + 2 KV) * D]`` with queries and keys normalized."""
        return self._norm_heads("decode", 1, qkv, norm)

    def attention(self, qkv: Tensor, rope: Rope, kv: Tensor, scores: Scores) -> Tensor:
        """``[1, H * D]``; appends the token's key and value to ``kv``."""
        layout, how = self.layout, scores.within(self.context)
        attend = self._once(
            ("attend", how), lambda: reads_window(choose.attend(layout, self.context, how, self.tier), how)
        )
        partial = Tensor.placeholder((layout.heads, choose.splits(self.tier), layout.head_dim + 2), "float32")
        _, partial = op.tensor_ir_inplace_op(
            attend,
            "decode_attend",
            [qkv, rope.coarse.weight, rope.fine.weight, self.inputs.state, self.inputs.page_table, kv],
            [5, -1],
            [Tensor.placeholder(layout.page_shape, layout.storage), partial],
        )
        merge = self._once("merge", lambda: choose.merge(layout, self.tier))
        out = Tensor.placeholder((1, layout.heads * layout.head_dim), "float32")
        return op.tensor_ir_op(merge, "decode_merge", [partial], out)

    def moe(self, x: Tensor, norm: Norm, mixture: Mixture, *, residual: Tensor) -> Tensor:
        """``residual + mixture(norm(x))``, ``[1, D]``."""
        return MoeLaunches(self.tier, self._once).decode(x, norm, mixture, residual)

    def head(
        self,
        x: Tensor,
        norm: Norm,
        weight: Matrix,
        *,
        bias: Values | None = None,
        cap: float | None = None,
    ) -> Tensor:
        """Logits ``[1, V]``, soft-capped if ``cap``."""
        return self._product("head", x, weight, norm, Folded(bias, cap=cap), rows=True)
