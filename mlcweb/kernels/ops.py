"""The kernels as operations of an nn model: ``Decode`` works on one token, ``Prefill`` on a chunk of n.

Both have the same methods, so a model is written once; each method is one or two launches.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from tvm import tirx
from tvm.relax.frontend.nn import Tensor, op

from mlcweb.kernels import attention_prefill, choose, sampling
from mlcweb.kernels.builder import dynamic
from mlcweb.kernels.cache import HeadLayout
from mlcweb.kernels.embedding import embed
from mlcweb.kernels.head_norm import HeadNorm, norm_heads
from mlcweb.kernels.linear import Norm
from mlcweb.kernels.matmul_int8 import matmul_int8, quantize_rows
from mlcweb.kernels.scores import Scores
from mlcweb.kernels.storage import GROUP, GroupQuantized, Matrix, Values
from mlcweb.kernels.tier import Tier


@dataclass(frozen=True)
class Rope:
    """RoPE's tables, as parameters of the model."""

    coarse: Values
    fine: Values


@dataclass
class Ops:
    """What decode and prefill share: the tier, the attention's shape, and one PrimFunc per distinct kernel."""

    tier: Tier
    layout: HeadLayout
    context: int
    _made: dict[Hashable, tirx.PrimFunc] = field(default_factory=dict)

    def _once(self, key: Hashable, make: Callable[[], tirx.PrimFunc]) -> tirx.PrimFunc:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _norm_heads(self, entry: str, rows: Any, qkv: Tensor, norm: HeadNorm) -> Tensor:
        key = ("norm_heads", norm.q_weight.columns, norm.k_weight.columns, norm.epsilon, norm.kind)
        func = self._once(key, lambda: norm_heads(self.layout, norm, rows))
        out = Tensor.placeholder(qkv.shape, "float32")
        args = [qkv, *norm.q_weight.tensors, *norm.k_weight.tensors]
        return op.tensor_ir_op(func, f"{entry}_norm_heads", args, out)


def _shape(weight: Matrix) -> tuple[str, int, int]:
    return type(weight).__name__, weight.rows, weight.columns


class Decode(Ops):
    """One token: matrix-vector products with norm, SwiGLU and residual folded in; split attention."""

    def embed(self, table: Matrix, ids: Tensor) -> Tensor:
        """x ``[1, D]`` of the token in ``state``."""
        func = self._once("embed", lambda: embed(table, prefill=False, to_blocks=choose.in_blocks(self.tier)))
        out = Tensor.placeholder((1, table.columns), "float32")
        return op.tensor_ir_op(func, "decode_embed", [ids, *table.tensors], out)

    def norm_linear(
        self, name: str, x: Tensor, norm: Norm, weight: Matrix, *, swiglu: bool = False
    ) -> Tensor:
        """``linear(rms_norm(x))``, then silu(gate) * up if ``swiglu``."""
        key = (name, _shape(weight), "norm", swiglu)
        # attention and sampling, which read the other outputs, want them in rows
        func = self._once(
            key, lambda: choose.matvec(weight, self.tier, norm=norm, swiglu=swiglu, to_blocks=swiglu)
        )
        out = Tensor.placeholder((1, weight.rows // 2 if swiglu else weight.rows), "float32")
        return op.tensor_ir_op(func, f"decode_{name}", [x, *norm.weight.tensors, *weight.tensors], out)

    def add_linear(self, name: str, x: Tensor, weight: Matrix, residual: Tensor) -> Tensor:
        """``residual + linear(x)``."""
        func = self._once(
            (name, _shape(weight)), lambda: choose.matvec(weight, self.tier, residual=True, to_blocks=True)
        )
        out = Tensor.placeholder((1, weight.rows), "float32")
        return op.tensor_ir_op(func, f"decode_{name}", [x, *weight.tensors, residual], out)

    def norm_heads(self, qkv: Tensor, norm: HeadNorm) -> Tensor:
        """``qkv`` ``[1, (H + 2 KV) * D]`` with queries and keys normalized."""
        return self._norm_heads("decode", 1, qkv, norm)

    def attention(
        self, qkv: Tensor, rope: Rope, state: Tensor, table: Tensor, kv: Tensor, scores: Scores
    ) -> Tensor:
        """``[1, H * D]``; appends the token's key and value to ``kv``."""
        layout, how = self.layout, scores.within(self.context)
        attend = self._once(("attend", how), lambda: choose.attend(layout, self.context, how, self.tier))
        partial = Tensor.placeholder((layout.heads, choose.splits(self.tier), layout.head_dim + 2), "float32")
        _, partial = op.tensor_ir_inplace_op(
            attend,
            "decode_attend",
            [qkv, rope.coarse.weight, rope.fine.weight, state, table, kv],
            [5, -1],
            [Tensor.placeholder(layout.page_shape, layout.storage), partial],
        )
        merge = self._once("merge", lambda: choose.merge(layout, self.tier))
        out = Tensor.placeholder((1, layout.heads * layout.head_dim), "float32")
        return op.tensor_ir_op(merge, "decode_merge", [partial], out)

    def head(self, x: Tensor, norm: Norm, weight: Matrix) -> Tensor:
        """Logits ``[1, V]``."""
        return self.norm_linear("head", x, norm, weight)


class Prefill(Ops):
    """A chunk of n tokens: tiled matrix products and flash attention; only the last token's logits."""

    def embed(self, table: Matrix, ids: Tensor) -> Tensor:
        """x ``[n, D]`` of ``tokens`` ``[n]``."""
        func = self._once("embed", lambda: embed(table, prefill=True))
        out = Tensor.placeholder((ids.shape[0], table.columns), "float32")
        return op.tensor_ir_op(func, "prefill_embed", [ids, *table.tensors], out)

    def norm_linear(
        self, name: str, x: Tensor, norm: Norm, weight: Matrix, *, swiglu: bool = False
    ) -> Tensor:
        """``linear(rms_norm(x))``, then silu(gate) * up if ``swiglu``."""
        norm_func = self._once(("norm", norm.weight.columns), lambda: choose.rms_norm(norm, self.tier))
        same = Tensor.placeholder(x.shape, "float32")
        normed = op.tensor_ir_op(norm_func, "prefill_norm", [x, *norm.weight.tensors], same)
        func = self._once(
            (name, _shape(weight), swiglu), lambda: choose.matmul(weight, self.tier, swiglu=swiglu)
        )
        out = Tensor.placeholder((x.shape[0], weight.rows // 2 if swiglu else weight.rows), "float32")
        return op.tensor_ir_op(func, f"prefill_{name}", [normed, *weight.tensors], out)

    def add_linear(self, name: str, x: Tensor, weight: Matrix, residual: Tensor) -> Tensor:
        """``residual + linear(x)``."""
        func = self._once((name, _shape(weight)), lambda: choose.matmul(weight, self.tier, residual=True))
        out = Tensor.placeholder((x.shape[0], weight.rows), "float32")
        return op.tensor_ir_op(func, f"prefill_{name}", [x, *weight.tensors, residual], out)

    def norm_heads(self, qkv: Tensor, norm: HeadNorm) -> Tensor:
        """``qkv`` ``[n, (H + 2 KV) * D]`` with queries and keys normalized."""
        return self._norm_heads("prefill", dynamic("n"), qkv, norm)

    def attention(
        self, qkv: Tensor, rope: Rope, state: Tensor, table: Tensor, kv: Tensor, scores: Scores
    ) -> Tensor:
        """``[n, H * D]``, causal; appends the chunk's keys and values to ``kv``."""
        layout, how = self.layout, scores.within(self.context)
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
        attend = self._once(("flash", how), lambda: choose.flash_attention(layout, how, self.tier))
        out = Tensor.placeholder(shape, "float32")
        return op.tensor_ir_op(attend, "prefill_attend", [queries, state, table, kv], out)

    def head(self, x: Tensor, norm: Norm, weight: Matrix) -> Tensor:
        """Logits ``[1, V]`` of the last token."""
        func = self._once(
            ("head", _shape(weight)), lambda: choose.matvec(weight, self.tier, norm=norm, last_row=True)
        )
        out = Tensor.placeholder((1, weight.rows), "float32")
        return op.tensor_ir_op(func, "prefill_head", [x, *norm.weight.tensors, *weight.tensors], out)


class PrefillInt8(Prefill):
    """As ``Prefill``, with activations rounded to int8 before each product, in groups as weights are."""

    def norm_linear(
        self, name: str, x: Tensor, norm: Norm, weight: Matrix, *, swiglu: bool = False
    ) -> Tensor:
        """``linear(rms_norm(x))``, then silu(gate) * up if ``swiglu``."""
        rounded = self._rounded("norm", x, norm)
        return self._product(name, rounded, weight, None, swiglu)

    def add_linear(self, name: str, x: Tensor, weight: Matrix, residual: Tensor) -> Tensor:
        """``residual + linear(x)``."""
        return self._product(name, self._rounded(f"round_{name}", x, None), weight, residual, False)

    def _rounded(self, name: str, x: Tensor, norm: Norm | None) -> tuple[Tensor, Tensor]:
        n, width = x.shape[0], int(x.shape[1])
        groups = -(-width // GROUP)
        func = self._once(("int8", width, norm is None), lambda: quantize_rows(width, self.tier, norm))
        args = [x] if norm is None else [x, *norm.weight.tensors]
        outs = [
            Tensor.placeholder((n, groups * GROUP // 4), "uint32"),
            Tensor.placeholder((n, groups), "float32"),
        ]
        codes, scales = op.tensor_ir_op(func, f"prefill_int8_{name}", args, outs)
        return codes, scales

    def _product(
        self, name: str, x: tuple[Tensor, Tensor], weight: Matrix, residual: Tensor | None, swiglu: bool
    ) -> Tensor:
        if not isinstance(weight, GroupQuantized):
            raise ValueError(f"{name}: an int8 product needs group-quantized weights")
        func = self._once(
            (name, _shape(weight), swiglu),
            lambda: matmul_int8(weight, residual=residual is not None, swiglu=swiglu),
        )
        args = [*x, *weight.tensors, *([] if residual is None else [residual])]
        out = Tensor.placeholder((x[0].shape[0], weight.rows // 2 if swiglu else weight.rows), "float32")
        return op.tensor_ir_op(func, f"prefill_int8_{name}", args, out)


def sample(logits: Tensor, sampling_params: Tensor, state: Tensor) -> Tensor:
    """Choose a token from ``logits`` and advance ``state``, in place; returns the state."""
    vocab = int(logits.shape[1])
    blocks = sampling.blocks(vocab)
    ids, scores = op.tensor_ir_op(
        sampling.scan(vocab),
        "sample_scan",
        [logits, sampling_params, state],
        [Tensor.placeholder((blocks,), "int32"), Tensor.placeholder((blocks, 2), "float32")],
    )
    return op.tensor_ir_inplace_op(
        sampling.pick(vocab),
        "sample_pick",
        [logits, sampling_params, ids, scores, state],
        [4],
        Tensor.placeholder((8,), "int32"),
    )
