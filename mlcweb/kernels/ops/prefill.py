"""Operations on a chunk of n tokens."""

from tvm.relax.frontend.nn import Tensor, op

from mlcweb.kernels.attention import prefill as attention_prefill
from mlcweb.kernels.attention.scores import Scores
from mlcweb.kernels.choice import choose
from mlcweb.kernels.choice.reads import reads_window
from mlcweb.kernels.experts.launches import Mixture, MoeLaunches
from mlcweb.kernels.language.builder import dynamic
from mlcweb.kernels.layouts.pieces import Matrix
from mlcweb.kernels.layouts.storage import Values, WholeMatrix
from mlcweb.kernels.norms.head_norm import HeadNorm
from mlcweb.kernels.ops.protocol import Rope
from mlcweb.kernels.ops.shared import Folded, Ops, norm_key
from mlcweb.kernels.products.matvec import Norm
from mlcweb.kernels.vocabulary.embedding import embed


class Prefill(Ops):
    """A chunk of n tokens: tiled matrix products and flash attention; only the last token's logits."""

    def embed(self, table: Matrix, *, scale: float = 1.0, positions: WholeMatrix | None = None) -> Tensor:
        """x ``[n, D]`` of the tokens, scaled; plus learned ``positions``, of which the state has the first."""
        ids: Tensor = self.inputs.tokens
        learned = [self.inputs.state, *positions.tensors] if positions else []
        return self._launch(
            "prefill_embed",
            table,
            "embed",
            lambda part, piece: embed(part, prefill=True, scale=scale, positions=positions, piece=piece),
            lambda part: [ids, *part.tensors, *learned],
            Tensor.placeholder((ids.shape[0], table.columns), "float32"),
        )

    def _product(
        self, name: str, x: Tensor, weight: Matrix, norm: Norm | None, folded: Folded, *, rows: bool = False
    ) -> Tensor:
        x = self.norm(x, norm) if norm else x
        return self._launch(
            f"prefill_{name}",
            weight,
            (name, folded.key),
            lambda part, piece: choose.matmul(
                part,
                self.tier,
                **folded.options,
                piece=piece,
            ),
            lambda part: [x, *part.tensors, *folded.tensors],
            Tensor.placeholder((x.shape[0], folded.outputs(weight)), "float32"),
        )

    def norm(
        self, x: Tensor, norm: Norm, *, residual: Tensor | None = None, last_row: bool = False
    ) -> Tensor:
        """``norm(x)``, or ``residual + norm(x)``; of the last token only if ``last_row``."""
        func = self._once(
            ("norm", norm_key(norm), residual is None, last_row),
            lambda: choose.normalize(norm, self.tier, residual=residual is not None, last_row=last_row),
        )
        args = [x, *norm.tensors, *([] if residual is None else [residual])]
        out = Tensor.placeholder((1, x.shape[1]) if last_row else x.shape, "float32")
        return op.tensor_ir_op(func, "prefill_norm", args, out)

    def norm_heads(self, qkv: Tensor, norm: HeadNorm) -> Tensor:
        """``qkv`` ``[n, (H + 2 KV) * D]`` with queries and keys normalized."""
        return self._norm_heads("prefill", dynamic("n"), qkv, norm)

    def attention(self, qkv: Tensor, rope: Rope, kv: Tensor, scores: Scores) -> Tensor:
        """``[n, H * D]``, causal; appends the chunk's keys and values to ``kv``."""
        layout, how = self.layout, scores.within(self.context)
        state, table = self.inputs.state, self.inputs.page_table
        append = self._once(
            ("append", how.scale), lambda: attention_prefill.rope_append(layout, self.context, how.scale)
        )
        shape = (qkv.shape[0], layout.heads * layout.head_dim)
        pages = Tensor.placeholder(layout.page_shape, layout.storage)
        kv, queries = op.tensor_ir_inplace_op(
            append,
            "prefill_rope",
            [qkv, rope.coarse.weight, rope.fine.weight, state, table, kv],
            [5, -1],
            [pages, Tensor.placeholder(shape, "float32")],
        )
        attend = self._once(
            ("flash", how), lambda: reads_window(choose.flash_attention(layout, how, self.tier), how)
        )
        out = Tensor.placeholder(shape, "float32")
        return op.tensor_ir_op(attend, "prefill_attend", [queries, state, table, kv], out)

    def moe(self, x: Tensor, norm: Norm, mixture: Mixture, *, residual: Tensor) -> Tensor:
        """``residual + mixture(norm(x))``, ``[n, D]``."""
        return MoeLaunches(self.tier, self._once).prefill(self.norm(x, norm), mixture, residual)

    def head(
        self,
        x: Tensor,
        norm: Norm,
        weight: Matrix,
        *,
        bias: Values | None = None,
        cap: float | None = None,
    ) -> Tensor:
        """Logits ``[1, V]`` of the last token, soft-capped if ``cap``."""
        if norm.centered:
            x = self.norm(x, norm, last_row=True)
        folded = None if norm.centered else norm
        norms = folded.tensors if folded else []
        return self._launch(
            "prefill_head",
            weight,
            "head",
            lambda part, piece: choose.matvec(
                part,
                self.tier,
                norm=folded,
                bias=bias,
                cap=cap,
                last_row=folded is not None,
                from_blocks=False,
                piece=piece,
            ),
            lambda part: [x, *norms, *part.tensors, *(bias.tensors if bias else [])],
            Tensor.placeholder((1, weight.rows), "float32"),
        )
